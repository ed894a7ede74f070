FROM later AS first
FROM debian AS later
COPY --from=first /a /a
