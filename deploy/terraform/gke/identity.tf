resource "google_project_service" "this" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "iam.googleapis.com",
  ])

  project = var.project_id
  service = each.value
  # Others of the project may use it, too.
  disable_on_destroy = false
}

# The nodes' own account. Google's default one may edit the whole project.
resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  display_name = "Nodes of the cluster ${var.name}"

  depends_on = [google_project_service.this]
}

# Logs and metrics, and no more.
resource "google_project_iam_member" "nodes" {
  project = var.project_id
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_service_account" "workload" {
  for_each = var.workloads

  account_id   = each.key
  display_name = "${each.value.namespace}/${each.value.service_account} of the cluster ${var.name}"

  depends_on = [google_project_service.this]
}

resource "google_service_account_iam_member" "workload" {
  for_each = var.workloads

  service_account_id = google_service_account.workload[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project_id}.svc.id.goog[${each.value.namespace}/${each.value.service_account}]"

  # The pool of identities is there once a cluster is.
  depends_on = [google_container_cluster.this]
}
