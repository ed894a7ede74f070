FROM \
# a comment between
    debian \

    AS base
RUN echo a \
FROM nobody AS fake
FROM base \
  AS \
  app
