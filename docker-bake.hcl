# Written by stagebake from example/Dockerfile: `nox -s generate` writes it anew, and edits here are lost.
# Your own edits belong into docker-bake.override.hcl, which is never touched and always honoured.
#
#   docker buildx bake                  build the final stage, reading the composed cache
#   docker buildx bake stages           build every stage
#   SAVE=1 docker buildx bake TARGET    build one stage and save its cache in its own ref

# The repository of the image and its caches.
variable "IMAGE" {
  default = "ghcr.io/stagebake/example"
}

# The tags of the image, with commas between.
variable "TAGS" {
  default = "latest"
}

# Whose caches: empty for the default branch.
variable "SCOPE" {
  default = ""
}

# The composed cache that every build reads; empty for none.
variable "CACHE" {
  default = "${IMAGE}:cache${SCOPE}"
}

# Not empty: write the cache of each stage that is built.
variable "SAVE" {
  default = ""
}

group "default" {
  targets = ["runtime"]
}

group "stages" {
  targets = ["base", "python-deps", "node-deps", "builder", "runtime"]
}

target "_common" {
  context    = "example"
  dockerfile = "Dockerfile"
  cache-from = CACHE == "" ? [] : ["type=registry,ref=${CACHE}"]
}

target "base" {
  inherits = ["_common"]
  target   = "base"
  cache-to = SAVE == "" ? [] : ["type=registry,ref=${IMAGE}:cache${SCOPE}-base,mode=max,image-manifest=true,oci-mediatypes=true"]
  output   = ["type=cacheonly"]
}

target "python-deps" {
  inherits = ["_common"]
  target   = "python-deps"
  cache-to = SAVE == "" ? [] : ["type=registry,ref=${IMAGE}:cache${SCOPE}-python-deps,mode=max,image-manifest=true,oci-mediatypes=true"]
  output   = ["type=cacheonly"]
}

target "node-deps" {
  inherits = ["_common"]
  target   = "node-deps"
  cache-to = SAVE == "" ? [] : ["type=registry,ref=${IMAGE}:cache${SCOPE}-node-deps,mode=max,image-manifest=true,oci-mediatypes=true"]
  output   = ["type=cacheonly"]
}

target "builder" {
  inherits = ["_common"]
  target   = "builder"
  cache-to = SAVE == "" ? [] : ["type=registry,ref=${IMAGE}:cache${SCOPE}-builder,mode=max,image-manifest=true,oci-mediatypes=true"]
  output   = ["type=cacheonly"]
}

target "runtime" {
  inherits = ["_common"]
  target   = "runtime"
  cache-to = SAVE == "" ? [] : ["type=registry,ref=${IMAGE}:cache${SCOPE}-runtime,mode=max,image-manifest=true,oci-mediatypes=true"]
  tags     = [for tag in split(",", TAGS) : "${IMAGE}:${tag}"]
}
