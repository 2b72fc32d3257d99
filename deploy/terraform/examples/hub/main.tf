# A hub network with a pair of pldns, from nothing to `dig`.

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.20, < 5.0"
    }
  }
}

provider "azurerm" {
  features {}
}

variable "admin_public_key" {
  description = "Public SSH key for the machines."
  type        = string
}

variable "package_url" {
  description = "URL of the Debian package."
  type        = string
}

variable "package_sha256" {
  description = "SHA-256 of the package."
  type        = string
}

data "azurerm_client_config" "current" {}

resource "azurerm_resource_group" "hub" {
  name     = "rg-hub-dns"
  location = "westeurope"
}

resource "azurerm_virtual_network" "hub" {
  name                = "vnet-hub"
  resource_group_name = azurerm_resource_group.hub.name
  location            = azurerm_resource_group.hub.location
  address_space       = ["10.0.0.0/16"]

  # pldns's module sets them.
  lifecycle {
    ignore_changes = [dns_servers]
  }
}

resource "azurerm_subnet" "dns" {
  name                 = "dns"
  resource_group_name  = azurerm_resource_group.hub.name
  virtual_network_name = azurerm_virtual_network.hub.name
  address_prefixes     = ["10.0.0.0/28"]
}

module "pldns" {
  source = "../.."

  resource_group_name    = azurerm_resource_group.hub.name
  location               = azurerm_resource_group.hub.location
  subnet_id              = azurerm_subnet.dns.id
  virtual_network_id     = azurerm_virtual_network.hub.id
  address                = "10.0.0.4"
  admin_public_key       = var.admin_public_key
  package_url            = var.package_url
  package_sha256         = var.package_sha256
  discover_subscriptions = [data.azurerm_client_config.current.subscription_id]

  # Second step, once `dig @10.0.0.4 www.example.com` and `pldns verify --server 10.0.0.4` are content.
  set_network_dns = false
}

output "dns_server" {
  value = module.pldns.address
}
