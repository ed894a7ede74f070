"""Say why a stage is rebuilt, before a build (`plan`) and after it (`after_build`)."""
