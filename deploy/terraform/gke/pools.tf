resource "google_container_node_pool" "confidential" {
  name           = "confidential"
  cluster        = google_container_cluster.this.id
  location       = var.region
  node_locations = length(var.zones) == 0 ? null : var.zones

  autoscaling {
    min_node_count = var.nodes.minimum
    max_node_count = var.nodes.maximum
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  # The new node is there before the old one goes: a service with one replica moves instead of stopping.
  upgrade_settings {
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type     = local.machine_type
    min_cpu_platform = local.min_cpu_platform
    image_type       = "COS_CONTAINERD"
    disk_size_gb     = var.disk_size_gb
    service_account  = google_service_account.nodes.email
    oauth_scopes     = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels  = local.labels

    labels = {
      "casemate.dev/platform" = local.platform
    }

    confidential_nodes {
      enabled                    = true
      confidential_instance_type = var.tee
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    # Pods get the identity of their own service account and never the node's.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    metadata = {
      disable-legacy-endpoints = "true"
    }
  }
}

# One H100 a node, in confidential mode; Google offers it with TDX alone, whatever the other pool has.
resource "google_container_node_pool" "gpu" {
  count = var.gpu ? 1 : 0

  name           = "gpu"
  cluster        = google_container_cluster.this.id
  location       = var.region
  node_locations = var.gpu_zones

  initial_node_count = 0

  autoscaling {
    total_min_node_count = 0
    total_max_node_count = var.gpu_nodes * length(var.gpu_zones)
    # Where there is capacity.
    location_policy = "ANY"
  }

  management {
    # A node of the queue is there for one request, and repaired or upgraded it would lose its place.
    auto_repair  = var.gpu_provisioning != "queued"
    auto_upgrade = true
  }

  dynamic "queued_provisioning" {
    for_each = var.gpu_provisioning == "queued" ? [true] : []

    content {
      enabled = true
    }
  }

  node_config {
    machine_type    = "a3-highgpu-1g"
    image_type      = "COS_CONTAINERD"
    disk_size_gb    = var.disk_size_gb
    spot            = var.gpu_provisioning == "spot"
    flex_start      = var.gpu_provisioning == "queued" ? true : null
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels = local.labels

    labels = {
      "casemate.dev/platform" = "gke-tdx"
    }

    # GKE adds the taint `nvidia.com/gpu=present:NoSchedule` by itself.
    guest_accelerator {
      type  = "nvidia-h100-80gb"
      count = 1

      gpu_driver_installation_config {
        gpu_driver_version = "LATEST"
      }
    }

    confidential_nodes {
      enabled                    = true
      confidential_instance_type = "TDX"
    }

    dynamic "reservation_affinity" {
      for_each = var.gpu_provisioning == "queued" ? [true] : []

      content {
        consume_reservation_type = "NO_RESERVATION"
      }
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    metadata = {
      disable-legacy-endpoints = "true"
    }
  }
}
