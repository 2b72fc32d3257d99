variable "name" {
  description = "Beginning of the name of every resource."
  type        = string
  default     = "pldns"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.name))
    error_message = "name must begin with a lower-case letter and hold at most 31 lower-case letters, digits and hyphens."
  }
}

variable "resource_group_name" {
  description = "Resource group of the machines and the load balancer."
  type        = string
}

variable "location" {
  description = "Azure region, as in westeurope."
  type        = string
}

variable "subnet_id" {
  description = "Resource id of the subnet of the machines and of the load balancer's address."
  type        = string
}

variable "address" {
  description = "Private address of the load balancer, in the subnet: the DNS server of the network."
  type        = string

  validation {
    condition     = can(cidrhost("${var.address}/32", 0))
    error_message = "address must be an IPv4 address."
  }
}

variable "virtual_network_id" {
  description = "Resource id of the virtual network whose DNS servers become this pair; used only with set_network_dns."
  type        = string
  default     = ""
}

variable "set_network_dns" {
  description = "Sets the network's DNS servers to address, after everything else. Set it once the pair answers; set it back to false to return to Azure DNS."
  type        = bool
  default     = false
}

variable "zones" {
  description = "Availability zones, one machine in each. Azure DNS limits queries by machine."
  type        = set(string)
  default     = ["1", "2"]

  validation {
    condition     = length(var.zones) >= 2
    error_message = "zones must name at least two zones: a network whose only DNS server is away resolves nothing."
  }
}

variable "size" {
  description = "Size of the machines. Azure DNS limits a machine long before its processor does."
  type        = string
  default     = "Standard_B2s_v2"
}

variable "admin_username" {
  description = "User for SSH."
  type        = string
  default     = "azureuser"
}

variable "admin_public_key" {
  description = "Public SSH key of that user."
  type        = string
}

variable "package_url" {
  description = "Where the machines fetch the Debian package of pldns from, over HTTPS."
  type        = string

  validation {
    condition     = startswith(var.package_url, "https://")
    error_message = "package_url must begin with https://."
  }
}

variable "package_sha256" {
  description = "SHA-256 of the package, 64 hexadecimal digits, as in the release's SHA256SUMS."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.package_sha256))
    error_message = "package_sha256 must be 64 lower-case hexadecimal digits."
  }
}

variable "records" {
  description = "Records files: name (as in workspace.toml) to text, as pldns generate writes them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.records) : can(regex("^[A-Za-z0-9._-]+\\.toml$", name))])
    error_message = "the names in records must end in .toml and hold letters, digits, dots, hyphens and underscores only."
  }
}

variable "forward" {
  description = "Forwarding rules beside the one to Azure DNS: zone to upstreams, as in { \"corp.example\" = [\"10.0.0.4\"] }."
  type        = map(list(string))
  default     = {}
}

variable "discover_subscriptions" {
  description = "Ids of subscriptions whose private endpoints become records by themselves; empty turns discovery off."
  type        = list(string)
  default     = []
}

variable "encrypted" {
  description = "DNS over TLS, HTTPS and QUIC beside port 53, with certificate and private_key, or with files of that name that something else puts into /etc/pldns/tls."
  type        = bool
  default     = false
}

variable "certificate" {
  description = "The certificate of the encrypted listeners, in PEM, with those between it and an authority."
  type        = string
  default     = ""
}

variable "private_key" {
  description = "Its private key, in PEM. It is then part of Terraform's state and of the machines' custom data: where that must not be, leave it empty and put /etc/pldns/tls/key.pem there by the Key Vault extension or by hand."
  type        = string
  default     = ""
  sensitive   = true
}

variable "designated_name" {
  description = "The name, in the certificate, by which clients that ask port 53 are told of the encrypted listeners (RFC 9462); empty: they are not."
  type        = string
  default     = ""
}

variable "client_prefixes" {
  description = "Networks whose machines may ask."
  type        = list(string)
  default     = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
