locals {
  # By the name that `casemate` knows the platform by.
  platform = { SEV = "gke-sev", SEV_SNP = "gke-snp", TDX = "gke-tdx" }[var.tee]
  machine_type = coalesce(var.machine_type, {
    SEV     = "n2d-standard-4"
    SEV_SNP = "n2d-standard-4"
    TDX     = "c3-standard-4"
  }[var.tee])
  # Rome has no SEV-SNP, and n2d may be either.
  min_cpu_platform = var.tee == "SEV_SNP" ? "AMD Milan" : null
  labels           = merge({ app = "casemate" }, var.labels)
}

resource "google_container_cluster" "this" {
  name     = var.name
  location = var.region

  node_locations = length(var.zones) == 0 ? null : var.zones

  # The pools below are the nodes. The one that a cluster is born with is not confidential and goes at once.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    # The nodes of that first pool, for the minutes that they live.
    machine_type     = local.machine_type
    min_cpu_platform = local.min_cpu_platform
    service_account  = google_service_account.nodes.email

    confidential_nodes {
      enabled                    = true
      confidential_instance_type = var.tee
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  network             = google_compute_network.this.id
  subnetwork          = google_compute_subnetwork.nodes.id
  networking_mode     = "VPC_NATIVE"
  datapath_provider   = "ADVANCED_DATAPATH"
  deletion_protection = var.deletion_protection
  resource_labels     = local.labels

  enable_shielded_nodes       = true
  enable_intranode_visibility = true

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.authorized_networks) == 0
    master_ipv4_cidr_block  = var.control_plane_cidr
  }

  # Present and empty: nobody by the public address.
  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = var.authorized_networks

      content {
        display_name = cidr_blocks.key
        cidr_block   = cidr_blocks.value
      }
    }
  }

  # IAM decides who gets through, and no network has to be listed.
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
  }

  workload_identity_config {
    workload_pool = "${var.project_id}.svc.id.goog"
  }

  release_channel {
    channel = var.release_channel
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  lifecycle {
    # It describes the first pool, which is gone. A change of it would otherwise replace the cluster.
    ignore_changes = [node_config]
  }

  depends_on = [google_project_service.this]
}
