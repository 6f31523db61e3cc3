output "project_id" {
  description = "The project."
  value       = var.project_id
}

output "region" {
  description = "The region of everything."
  value       = var.region
}

output "cluster" {
  description = "The name of the cluster."
  value       = google_container_cluster.this.name
}

output "platform" {
  description = "The platform's name for `casemate`."
  value       = local.platform
}

output "get_credentials" {
  description = "The command that lets kubectl reach the cluster."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.this.name} --project ${var.project_id} --region ${var.region} --dns-endpoint"
}

output "registry_host" {
  description = "The host of the registry, for logins."
  value       = "${var.region}-docker.pkg.dev"
}

output "registry" {
  description = "What the names of images begin with."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.this.repository_id}"
}

output "registry_login" {
  description = "The command that lets docker and casemate reach the registry."
  value       = "gcloud auth configure-docker ${var.region}-docker.pkg.dev"
}

output "node_service_account" {
  description = "The account of the nodes, for further registries that they read."
  value       = google_service_account.nodes.email
}

output "workload_service_accounts" {
  description = "Google's accounts of the workloads, for the annotation `iam.gke.io/gcp-service-account`."
  value       = { for name, account in google_service_account.workload : name => account.email }
}
