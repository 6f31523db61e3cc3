# What is planned, with the provider mocked: no account, no network, nothing is made.
mock_provider "google" {}

variables {
  project_id = "my-project"
  region     = "europe-west4"
  tee        = "SEV_SNP"
}

run "snp" {
  command = plan

  assert {
    condition     = google_container_node_pool.confidential.node_config[0].machine_type == "n2d-standard-4"
    error_message = "SEV-SNP is had with n2d."
  }

  assert {
    condition     = google_container_node_pool.confidential.node_config[0].min_cpu_platform == "AMD Milan"
    error_message = "Older processors have no SEV-SNP."
  }

  assert {
    condition     = google_container_node_pool.confidential.node_config[0].confidential_nodes[0].confidential_instance_type == "SEV_SNP"
    error_message = "The pool is not confidential."
  }

  assert {
    condition     = length(google_container_node_pool.gpu) == 0
    error_message = "A pool with GPUs that nobody asked for."
  }

  assert {
    condition     = output.platform == "gke-snp"
    error_message = "The platform is not the one that casemate knows."
  }

  assert {
    condition     = google_container_cluster.this.private_cluster_config[0].enable_private_endpoint
    error_message = "The control plane has a public address although nobody is let in by it."
  }
}

run "sev" {
  command = plan

  variables {
    tee   = "SEV"
    zones = ["europe-west4-a", "europe-west4-b"]
  }

  assert {
    condition     = google_container_node_pool.confidential.node_config[0].confidential_nodes[0].confidential_instance_type == "SEV"
    error_message = "The pool has not the TEE that was asked for."
  }

  assert {
    condition     = google_container_node_pool.confidential.node_locations == toset(["europe-west4-a", "europe-west4-b"])
    error_message = "The pool is not in the zones."
  }
}

run "tdx_with_a_gpu" {
  command = plan

  variables {
    tee       = "TDX"
    gpu       = true
    gpu_zones = ["europe-west4-c"]
    gpu_nodes = 2
  }

  assert {
    condition     = google_container_node_pool.confidential.node_config[0].machine_type == "c3-standard-4"
    error_message = "TDX is had with c3."
  }

  assert {
    condition     = google_container_node_pool.gpu[0].node_config[0].machine_type == "a3-highgpu-1g"
    error_message = "One confidential H100 is had with a3-highgpu-1g alone."
  }

  assert {
    condition     = google_container_node_pool.gpu[0].node_config[0].confidential_nodes[0].confidential_instance_type == "TDX"
    error_message = "The pool with GPUs is not confidential."
  }

  assert {
    condition     = google_container_node_pool.gpu[0].autoscaling[0].total_max_node_count == 2
    error_message = "Two nodes in one zone."
  }
}

# The GPU pool has TDX, whatever the other one has.
run "snp_with_a_gpu_from_the_queue" {
  command = plan

  variables {
    gpu              = true
    gpu_zones        = ["europe-west4-c"]
    gpu_provisioning = "queued"
  }

  assert {
    condition     = google_container_node_pool.gpu[0].node_config[0].confidential_nodes[0].confidential_instance_type == "TDX"
    error_message = "The pool with GPUs has another TEE than Google offers."
  }

  assert {
    condition     = google_container_node_pool.gpu[0].queued_provisioning[0].enabled && google_container_node_pool.gpu[0].node_config[0].flex_start
    error_message = "The pool does not wait in the queue."
  }

  assert {
    condition     = !google_container_node_pool.gpu[0].management[0].auto_repair
    error_message = "A node of the queue is not repaired."
  }
}

run "authorized_networks" {
  command = plan

  variables {
    authorized_networks = { office = "203.0.113.0/24" }
  }

  assert {
    condition     = !google_container_cluster.this.private_cluster_config[0].enable_private_endpoint
    error_message = "Who is let in by the public address finds none."
  }
}

run "workloads" {
  command = plan

  variables {
    workloads = { inference-reader = { namespace = "default", service_account = "inference" } }
  }

  assert {
    condition     = google_service_account_iam_member.workload["inference-reader"].member == "serviceAccount:my-project.svc.id.goog[default/inference]"
    error_message = "The workload is not the one that was named."
  }
}

run "one_region_for_all" {
  command = plan

  assert {
    condition = alltrue([
      google_compute_subnetwork.nodes.region == "europe-west4",
      google_compute_router.this.region == "europe-west4",
      google_compute_router_nat.this.region == "europe-west4",
      google_container_cluster.this.location == "europe-west4",
      google_container_node_pool.confidential.location == "europe-west4",
      google_artifact_registry_repository.this.location == "europe-west4",
      google_artifact_registry_repository_iam_member.nodes.location == "europe-west4",
    ])
    error_message = "Something is in another region."
  }

  assert {
    condition     = output.registry_host == "europe-west4-docker.pkg.dev"
    error_message = "The registry is in another region."
  }
}
