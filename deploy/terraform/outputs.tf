output "address" {
  description = "The DNS server's address: ask it with dig before the network does."
  value       = var.address
}

output "identity_principal_id" {
  description = "Principal id of the machines' identity, for role assignments of your own."
  value       = azurerm_user_assigned_identity.this.principal_id
}

output "machine_addresses" {
  description = "Private address of each machine, by zone."
  value       = { for zone, interface in azurerm_network_interface.this : zone => interface.private_ip_address }
}
