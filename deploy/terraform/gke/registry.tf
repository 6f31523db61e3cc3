resource "google_artifact_registry_repository" "this" {
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the cluster ${var.name}"
  labels        = local.labels

  docker_config {
    # A tag that means another image tomorrow is what `casemate generate` guards against; here nobody can move one.
    immutable_tags = true
  }

  depends_on = [google_project_service.this]
}

# Without it pods end in `ErrImagePull: 403`.
resource "google_artifact_registry_repository_iam_member" "nodes" {
  repository = google_artifact_registry_repository.this.name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}
