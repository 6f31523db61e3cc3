terraform {
  # Conditions of one variable that read another.
  required_version = ">= 1.9"

  required_providers {
    google = {
      source = "hashicorp/google"
      # `confidential_instance_type` of node pools and the DNS endpoint of the control plane.
      version = ">= 7.0, < 8.0"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}
