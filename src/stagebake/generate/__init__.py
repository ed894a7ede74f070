"""Write the files of a repository: bake file, workflow, settings, noxfile."""
