# From .github/workflows/build-arguments.yml; yours to edit. stagebake lays this file over docker-bake.hcl.
target "_common" {
  shm-size = "1g"
  extra-hosts = { "registry.internal" = "10.0.0.7" }
  attest = ["type=provenance,disabled=true", "type=sbom"]
}
