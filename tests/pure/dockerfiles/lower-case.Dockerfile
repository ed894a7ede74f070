arg v=1
from debian:$v as base
run echo a
from base As app
copy --from=base /a /a
