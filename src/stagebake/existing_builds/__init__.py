"""Read how a repository builds its image today: workflows, docker commands, compose files and bake files."""
