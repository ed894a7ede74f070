"""Read what the rules of `doctor` need: commands of a RUN, files of a COPY, steps that a push runs."""
