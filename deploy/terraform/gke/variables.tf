variable "project_id" {
  description = "The Google Cloud project that pays for all of this."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project's id has 6 to 30 characters: a lower-case letter, then letters, digits and hyphens. It is not the project's name, and no angle brackets stand around it."
  }
}

variable "region" {
  description = "The one region of network, cluster, node pools and registry, such as `europe-west4`."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+[0-9]+$", var.region))
    error_message = "A region is written as `europe-west4`. With a letter behind, as in `europe-west4-a`, it is a zone: that goes into `zones`."
  }
}

variable "zones" {
  description = "Zones of the region for the nodes; empty for those that Google chooses. Not every zone has machines with every TEE."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for zone in var.zones : can(regex("^${var.region}-[a-z]$", zone))])
    error_message = "Every zone is one of `region`: its name and a letter, as in `europe-west4-a`."
  }

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones)
    error_message = "A zone is there twice."
  }
}

variable "name" {
  description = "The name of the cluster; what belongs to it begins with it."
  type        = string
  default     = "casemate"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "A name has at most 20 characters: a lower-case letter, then letters, digits and hyphens, with no hyphen at the end. Longer ones leave no room for `-nodes` in a service account's name."
  }
}

variable "tee" {
  description = "What encrypts the nodes' memory: `SEV`, `SEV_SNP` or `TDX`. SEV makes no report that anybody could check."
  type        = string

  validation {
    condition     = contains(["SEV", "SEV_SNP", "TDX"], var.tee)
    error_message = "It is `SEV`, `SEV_SNP` or `TDX`, in capitals and with an underscore."
  }
}

variable "machine_type" {
  description = "The machines of the nodes; null for the smallest sensible one with this TEE."
  type        = string
  default     = null

  validation {
    condition = var.machine_type == null ? true : can(regex({
      SEV     = "^(n2d|c2d|c3d)-(standard|highmem|highcpu)-[0-9]+(-lssd)?$"
      SEV_SNP = "^n2d-(standard|highmem|highcpu)-[0-9]+$"
      TDX     = "^c3-standard-[0-9]+(-lssd)?$"
    }[var.tee], var.machine_type))
    error_message = "These machines have not this TEE. SEV: n2d, c2d, c3d. SEV_SNP: n2d. TDX: c3-standard."
  }
}

variable "nodes" {
  description = "How many nodes there are at least and at most, in each zone."
  type = object({
    minimum = number
    maximum = number
  })
  default = {
    minimum = 1
    maximum = 3
  }

  validation {
    condition     = var.nodes.minimum >= 0 && var.nodes.maximum >= 1 && var.nodes.maximum <= 100
    error_message = "The minimum is 0 or more, the maximum between 1 and 100."
  }

  validation {
    condition     = var.nodes.minimum <= var.nodes.maximum
    error_message = "The minimum is above the maximum."
  }

  validation {
    condition     = floor(var.nodes.minimum) == var.nodes.minimum && floor(var.nodes.maximum) == var.nodes.maximum
    error_message = "Nodes are counted in whole numbers."
  }
}

variable "disk_size_gb" {
  description = "The size of a node's disk, in GB."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_size_gb >= 30 && var.disk_size_gb <= 65536 && floor(var.disk_size_gb) == var.disk_size_gb
    error_message = "A node's disk has between 30 and 65536 GB: its system alone takes 10."
  }
}

variable "gpu" {
  description = "Whether there is a pool with one confidential H100 a node (a3-highgpu-1g, always TDX)."
  type        = bool
  default     = false
}

variable "gpu_zones" {
  description = "Zones of the region that have a3-highgpu-1g with TDX; needed with `gpu`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for zone in var.gpu_zones : can(regex("^${var.region}-[a-z]$", zone))])
    error_message = "Every zone is one of `region`: its name and a letter, as in `europe-west4-c`."
  }

  validation {
    condition     = !var.gpu || length(var.gpu_zones) > 0
    error_message = "Confidential H100s are in few zones: name at least one that has them."
  }
}

variable "gpu_nodes" {
  description = "How many nodes with GPUs there are at most, in each zone; there are none while nobody asks for one."
  type        = number
  default     = 1

  validation {
    condition     = var.gpu_nodes >= 1 && var.gpu_nodes <= 100 && floor(var.gpu_nodes) == var.gpu_nodes
    error_message = "Between 1 and 100 nodes."
  }
}

variable "gpu_provisioning" {
  description = "How nodes with GPUs are had: `on-demand`, `spot` (taken back at any time) or `queued` (flex-start, waits for capacity)."
  type        = string
  default     = "on-demand"

  validation {
    condition     = contains(["on-demand", "spot", "queued"], var.gpu_provisioning)
    error_message = "It is `on-demand`, `spot` or `queued`."
  }
}

variable "node_cidr" {
  description = "The addresses of the nodes."
  type        = string
  default     = "10.10.0.0/22"

  validation {
    condition     = can(cidrnetmask(var.node_cidr)) && try(tonumber(split("/", var.node_cidr)[1]) <= 26, false)
    error_message = "An IPv4 range of at least 64 addresses, as in `10.10.0.0/22`."
  }
}

variable "pod_cidr" {
  description = "The addresses of the pods; a node takes 256 of them."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.pod_cidr)) && try(tonumber(split("/", var.pod_cidr)[1]) <= 21, false)
    error_message = "An IPv4 range of at least 2048 addresses, as in `10.20.0.0/16`: a node takes 256."
  }
}

variable "service_cidr" {
  description = "The addresses of the services."
  type        = string
  default     = "10.30.0.0/20"

  validation {
    condition     = can(cidrnetmask(var.service_cidr)) && try(tonumber(split("/", var.service_cidr)[1]) <= 27, false)
    error_message = "An IPv4 range of at least 32 addresses, as in `10.30.0.0/20`."
  }
}

variable "control_plane_cidr" {
  description = "The addresses of the control plane: 16 of them, which nothing else of the network has."
  type        = string
  default     = "172.16.0.0/28"

  validation {
    condition     = can(cidrnetmask(var.control_plane_cidr)) && endswith(var.control_plane_cidr, "/28")
    error_message = "An IPv4 range that ends in `/28`, as in `172.16.0.0/28`."
  }
}

variable "authorized_networks" {
  description = "Who may reach the control plane by its public address: name to range. Empty for nobody; the DNS endpoint asks IAM."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for range in values(var.authorized_networks) : can(cidrnetmask(range))])
    error_message = "Every value is an IPv4 range, as in `203.0.113.0/24`."
  }

  validation {
    condition     = alltrue([for range in values(var.authorized_networks) : !endswith(range, "/0")])
    error_message = "A range that ends in `/0` is the whole internet: leave the map empty and use the DNS endpoint."
  }
}

variable "release_channel" {
  description = "How soon new versions of Kubernetes come: `RAPID`, `REGULAR` or `STABLE`."
  type        = string
  default     = "REGULAR"

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE"], var.release_channel)
    error_message = "It is `RAPID`, `REGULAR` or `STABLE`."
  }
}

variable "workloads" {
  description = "Service accounts of Kubernetes that act as one of Google's own: name to namespace and service account. They get no role by this."
  type = map(object({
    namespace       = string
    service_account = string
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.workloads) : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", name))])
    error_message = "A name is that of a Google service account: 6 to 30 characters, a lower-case letter, then letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for one in values(var.workloads) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", one.namespace)) && can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", one.service_account))])
    error_message = "Namespace and service account are names of Kubernetes objects: lower-case letters, digits and hyphens."
  }
}

variable "labels" {
  description = "Labels of everything that can have some, as for bills."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Keys and values have at most 63 lower-case letters, digits, hyphens and underscores; a key begins with a letter."
  }
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` refuses to delete the cluster."
  type        = bool
  default     = true
}
