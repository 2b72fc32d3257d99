# Two machines in two zones behind an internal load balancer, which is the DNS server of a virtual network.

locals {
  # Name of a rule of the load balancer to its protocol and port.
  all_ports = {
    "dns-udp"   = { protocol = "Udp", port = 53 }
    "dns-tcp"   = { protocol = "Tcp", port = 53 }
    "dns-tls"   = { protocol = "Tcp", port = 853 }
    "dns-https" = { protocol = "Tcp", port = 443 }
    "dns-quic"  = { protocol = "Udp", port = 853 }
  }
  ports = { for name, rule in local.all_ports : name => rule if var.encrypted || rule.port == 53 }

  settings = templatefile("${path.module}/pldns.toml.tftpl", {
    client_prefixes = var.client_prefixes
    encrypted       = var.encrypted
    designated_name = var.designated_name
    forward         = var.forward
    subscriptions   = var.discover_subscriptions
    client_id       = azurerm_user_assigned_identity.this.client_id
  })
}

# The machines' identity, with the right to read what discovery needs and nothing else.
resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name}-identity"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_role_definition" "discover" {
  for_each = toset(var.discover_subscriptions)

  name        = "${var.name} discovery ${each.value}"
  scope       = "/subscriptions/${each.value}"
  description = "Reads private endpoints, their interfaces, virtual networks, workspaces, linked private DNS zones and zone groups."

  permissions {
    actions = [
      "Microsoft.Network/privateEndpoints/read",
      "Microsoft.Network/networkInterfaces/read",
      "Microsoft.Network/virtualNetworks/read",
      "Microsoft.MachineLearningServices/workspaces/read",
      "Microsoft.MachineLearningServices/workspaces/computes/read",
      "Microsoft.Network/privateDnsZones/read",
      "Microsoft.Network/privateDnsZones/virtualNetworkLinks/read",
      "Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read",
    ]
  }

  assignable_scopes = ["/subscriptions/${each.value}"]
}

resource "azurerm_role_assignment" "discover" {
  for_each = azurerm_role_definition.discover

  scope              = each.value.scope
  role_definition_id = each.value.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.this.principal_id
}

resource "azurerm_network_security_group" "this" {
  name                = "${var.name}-nsg"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags

  security_rule {
    name                       = "dns"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "*"
    source_address_prefixes    = var.client_prefixes
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_ranges    = distinct([for rule in local.ports : tostring(rule.port)])
  }

  # The probe of the load balancer comes from 168.63.129.16.
  security_rule {
    name                       = "probe"
    priority                   = 110
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "AzureLoadBalancer"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_ranges    = ["53", "8080"]
  }
}

resource "azurerm_network_interface" "this" {
  for_each = var.zones

  name                = "${var.name}-${each.value}-nic"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags

  # The machines themselves ask Azure DNS, not the pair that they are.
  dns_servers = ["168.63.129.16"]

  ip_configuration {
    name                          = "main"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Dynamic"
  }
}

resource "azurerm_network_interface_security_group_association" "this" {
  for_each = var.zones

  network_interface_id      = azurerm_network_interface.this[each.value].id
  network_security_group_id = azurerm_network_security_group.this.id
}

resource "azurerm_linux_virtual_machine" "this" {
  for_each = var.zones

  name                            = "${var.name}-${each.value}"
  resource_group_name             = var.resource_group_name
  location                        = var.location
  zone                            = each.value
  size                            = var.size
  admin_username                  = var.admin_username
  disable_password_authentication = true
  network_interface_ids           = [azurerm_network_interface.this[each.value].id]
  secure_boot_enabled             = true
  vtpm_enabled                    = true
  tags                            = var.tags

  custom_data = base64encode(templatefile("${path.module}/cloud-init.yaml.tftpl", {
    package_url    = var.package_url
    package_sha256 = var.package_sha256
    settings       = local.settings
    records        = var.records
    certificate    = var.encrypted ? var.certificate : ""
    private_key    = var.encrypted ? var.private_key : ""
  }))

  admin_ssh_key {
    username   = var.admin_username
    public_key = var.admin_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
}

resource "azurerm_lb" "this" {
  name                = "${var.name}-lb"
  resource_group_name = var.resource_group_name
  location            = var.location
  sku                 = "Standard"
  tags                = var.tags

  frontend_ip_configuration {
    name                          = "dns"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Static"
    private_ip_address            = var.address
    zones                         = var.zones
  }
}

resource "azurerm_lb_backend_address_pool" "this" {
  name            = "pldns"
  loadbalancer_id = azurerm_lb.this.id
}

resource "azurerm_network_interface_backend_address_pool_association" "this" {
  for_each = var.zones

  network_interface_id    = azurerm_network_interface.this[each.value].id
  ip_configuration_name   = "main"
  backend_address_pool_id = azurerm_lb_backend_address_pool.this.id
}

# /readyz says 503 while the server drains, so that a restart loses nothing.
resource "azurerm_lb_probe" "this" {
  name                = "readyz"
  loadbalancer_id     = azurerm_lb.this.id
  protocol            = "Http"
  port                = 8080
  request_path        = "/readyz"
  interval_in_seconds = 5
  number_of_probes    = 2
}

resource "azurerm_lb_rule" "this" {
  for_each = local.ports

  name                           = each.key
  loadbalancer_id                = azurerm_lb.this.id
  protocol                       = each.value.protocol
  frontend_port                  = each.value.port
  backend_port                   = each.value.port
  frontend_ip_configuration_name = "dns"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.this.id]
  probe_id                       = azurerm_lb_probe.this.id
}

# Last, and on its own switch: from here on the machines of the network ask the pair. Without it they ask Azure DNS.
resource "azurerm_virtual_network_dns_servers" "this" {
  count = var.set_network_dns ? 1 : 0

  virtual_network_id = var.virtual_network_id
  dns_servers        = [var.address]

  depends_on = [
    azurerm_linux_virtual_machine.this,
    azurerm_lb_rule.this,
    azurerm_network_interface_backend_address_pool_association.this,
    azurerm_network_interface_security_group_association.this,
    azurerm_role_assignment.discover,
  ]
}
