FROM debian AS top
FROM top AS left
RUN echo left
FROM top AS right
RUN echo right
FROM left AS bottom
COPY --from=right /r /r
