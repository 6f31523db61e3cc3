# What is refused before anything is asked of Google, each by the variable that is wrong.
mock_provider "google" {}

variables {
  project_id = "my-project"
  region     = "europe-west4"
  tee        = "SEV_SNP"
}

run "project_in_angle_brackets" {
  command = plan

  variables {
    project_id = "<my-project>"
  }

  expect_failures = [var.project_id]
}

run "project_in_capitals" {
  command = plan

  variables {
    project_id = "My-Project"
  }

  expect_failures = [var.project_id]
}

run "project_too_short" {
  command = plan

  variables {
    project_id = "abc"
  }

  expect_failures = [var.project_id]
}

run "project_ends_in_a_hyphen" {
  command = plan

  variables {
    project_id = "my-project-"
  }

  expect_failures = [var.project_id]
}

run "zone_for_a_region" {
  command = plan

  variables {
    region = "europe-west4-a"
  }

  expect_failures = [var.region]
}

run "region_without_number" {
  command = plan

  variables {
    region = "europe-west"
  }

  expect_failures = [var.region]
}

run "zone_of_another_region" {
  command = plan

  variables {
    zones = ["us-central1-a"]
  }

  expect_failures = [var.zones]
}

run "zone_twice" {
  command = plan

  variables {
    zones = ["europe-west4-a", "europe-west4-a"]
  }

  expect_failures = [var.zones]
}

run "name_too_long" {
  command = plan

  variables {
    name = "a-name-that-leaves-no-room"
  }

  expect_failures = [var.name]
}

run "name_in_capitals" {
  command = plan

  variables {
    name = "Casemate"
  }

  expect_failures = [var.name]
}

run "tee_in_small_letters" {
  command = plan

  variables {
    tee = "sev_snp"
  }

  expect_failures = [var.tee]
}

run "tee_without_underscore" {
  command = plan

  variables {
    tee = "SNP"
  }

  expect_failures = [var.tee]
}

run "machine_without_snp" {
  command = plan

  variables {
    machine_type = "c3-standard-4"
  }

  expect_failures = [var.machine_type]
}

run "machine_without_tdx" {
  command = plan

  variables {
    tee          = "TDX"
    machine_type = "n2d-standard-4"
  }

  expect_failures = [var.machine_type]
}

run "machine_without_tee" {
  command = plan

  variables {
    tee          = "SEV"
    machine_type = "e2-standard-4"
  }

  expect_failures = [var.machine_type]
}

run "fewer_at_most_than_at_least" {
  command = plan

  variables {
    nodes = { minimum = 3, maximum = 1 }
  }

  expect_failures = [var.nodes]
}

run "no_nodes_at_all" {
  command = plan

  variables {
    nodes = { minimum = 0, maximum = 0 }
  }

  expect_failures = [var.nodes]
}

run "half_a_node" {
  command = plan

  variables {
    nodes = { minimum = 0.5, maximum = 1 }
  }

  expect_failures = [var.nodes]
}

run "disk_too_small" {
  command = plan

  variables {
    disk_size_gb = 10
  }

  expect_failures = [var.disk_size_gb]
}

run "gpu_without_zones" {
  command = plan

  variables {
    gpu = true
  }

  expect_failures = [var.gpu_zones]
}

run "gpu_in_another_region" {
  command = plan

  variables {
    gpu       = true
    gpu_zones = ["us-central1-a"]
  }

  expect_failures = [var.gpu_zones]
}

run "no_gpu_nodes" {
  command = plan

  variables {
    gpu_nodes = 0
  }

  expect_failures = [var.gpu_nodes]
}

run "unknown_provisioning" {
  command = plan

  variables {
    gpu_provisioning = "cheap"
  }

  expect_failures = [var.gpu_provisioning]
}

run "node_range_too_small" {
  command = plan

  variables {
    node_cidr = "10.10.0.0/28"
  }

  expect_failures = [var.node_cidr]
}

run "node_range_is_an_address" {
  command = plan

  variables {
    node_cidr = "10.10.0.1"
  }

  expect_failures = [var.node_cidr]
}

run "pod_range_too_small" {
  command = plan

  variables {
    pod_cidr = "10.20.0.0/24"
  }

  expect_failures = [var.pod_cidr]
}

run "service_range_too_small" {
  command = plan

  variables {
    service_cidr = "10.30.0.0/28"
  }

  expect_failures = [var.service_cidr]
}

run "control_plane_range_too_large" {
  command = plan

  variables {
    control_plane_cidr = "172.16.0.0/24"
  }

  expect_failures = [var.control_plane_cidr]
}

run "authorized_everybody" {
  command = plan

  variables {
    authorized_networks = { all = "0.0.0.0/0" }
  }

  expect_failures = [var.authorized_networks]
}

run "authorized_no_range" {
  command = plan

  variables {
    authorized_networks = { office = "203.0.113.7" }
  }

  expect_failures = [var.authorized_networks]
}

run "unknown_channel" {
  command = plan

  variables {
    release_channel = "EXTENDED"
  }

  expect_failures = [var.release_channel]
}

run "workload_with_a_short_name" {
  command = plan

  variables {
    workloads = { web = { namespace = "default", service_account = "web" } }
  }

  expect_failures = [var.workloads]
}

run "workload_in_no_namespace" {
  command = plan

  variables {
    workloads = { inference = { namespace = "a/b", service_account = "web" } }
  }

  expect_failures = [var.workloads]
}

run "label_in_capitals" {
  command = plan

  variables {
    labels = { Team = "a" }
  }

  expect_failures = [var.labels]
}
