// Two machines in two zones behind an internal load balancer: the DNS server of a virtual network.
//
// The same as the Terraform module beside it. Its syntax is checked; it was not deployed from here.

@description('Beginning of the name of every resource.')
@minLength(1)
@maxLength(31)
param name string = 'pldns'

@description('Azure region.')
param location string = resourceGroup().location

@description('Resource id of the subnet of the machines and of the load balancer\'s address.')
param subnetId string

@description('Private address of the load balancer: the DNS server of the network.')
param address string

@description('Availability zones, one machine in each.')
@minLength(2)
param zones array = ['1', '2']

@description('Size of the machines.')
param size string = 'Standard_B2s_v2'

@description('User for SSH.')
param adminUsername string = 'azureuser'

@description('Public SSH key of that user.')
param adminPublicKey string

@description('Where the machines fetch the Debian package of pldns from, over HTTPS.')
param packageUrl string

@description('SHA-256 of the package.')
@minLength(64)
@maxLength(64)
param packageSha256 string

@description('pldns.toml. Its health listener must be 0.0.0.0:8080.')
param settings string = '[listen]\nhealth = "0.0.0.0:8080"\n'

@description('A records file, as pldns generate writes it.')
param records string = ''

@description('Networks whose machines may ask.')
param clientPrefixes array = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']

var cloudInit = format('''
#cloud-config
write_files:
  - path: /etc/pldns/pldns.toml
    permissions: "0644"
    encoding: b64
    content: {0}
  - path: /etc/pldns/records/records.toml
    permissions: "0644"
    encoding: b64
    content: {1}
runcmd:
  - [curl, --fail, --silent, --show-error, --location, --retry, "5", --output, /var/tmp/pldns.deb, "{2}"]
  - [sh, -c, "echo '{3}  /var/tmp/pldns.deb' | sha256sum --check && apt-get install --yes -o Dpkg::Options::=--force-confold /var/tmp/pldns.deb"]
  - [systemctl, enable, --now, pldns.service]
''', base64(settings), base64(records), packageUrl, packageSha256)

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${name}-identity'
  location: location
}

resource group 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-nsg'
  location: location
  properties: {
    securityRules: [
      {
        name: 'dns'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: '*'
          sourceAddressPrefixes: clientPrefixes
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '53'
        }
      }
      {
        name: 'probe'
        properties: {
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'AzureLoadBalancer'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRanges: ['53', '8080']
        }
      }
    ]
  }
}

resource balancer 'Microsoft.Network/loadBalancers@2024-05-01' = {
  name: '${name}-lb'
  location: location
  sku: {
    name: 'Standard'
  }
  properties: {
    frontendIPConfigurations: [
      {
        name: 'dns'
        zones: zones
        properties: {
          privateIPAllocationMethod: 'Static'
          privateIPAddress: address
          subnet: {
            id: subnetId
          }
        }
      }
    ]
    backendAddressPools: [
      {
        name: 'pldns'
      }
    ]
    probes: [
      {
        name: 'readyz'
        properties: {
          protocol: 'Http'
          port: 8080
          requestPath: '/readyz'
          intervalInSeconds: 5
          numberOfProbes: 2
        }
      }
    ]
    loadBalancingRules: [
      {
        name: 'dns-udp'
        properties: {
          protocol: 'Udp'
          frontendPort: 53
          backendPort: 53
          frontendIPConfiguration: {
            id: resourceId('Microsoft.Network/loadBalancers/frontendIPConfigurations', '${name}-lb', 'dns')
          }
          backendAddressPool: {
            id: resourceId('Microsoft.Network/loadBalancers/backendAddressPools', '${name}-lb', 'pldns')
          }
          probe: {
            id: resourceId('Microsoft.Network/loadBalancers/probes', '${name}-lb', 'readyz')
          }
        }
      }
      {
        name: 'dns-tcp'
        properties: {
          protocol: 'Tcp'
          frontendPort: 53
          backendPort: 53
          frontendIPConfiguration: {
            id: resourceId('Microsoft.Network/loadBalancers/frontendIPConfigurations', '${name}-lb', 'dns')
          }
          backendAddressPool: {
            id: resourceId('Microsoft.Network/loadBalancers/backendAddressPools', '${name}-lb', 'pldns')
          }
          probe: {
            id: resourceId('Microsoft.Network/loadBalancers/probes', '${name}-lb', 'readyz')
          }
        }
      }
    ]
  }
}

resource interfaces 'Microsoft.Network/networkInterfaces@2024-05-01' = [
  for zone in zones: {
    name: '${name}-${zone}-nic'
    location: location
    properties: {
      // The machines themselves ask Azure DNS, not the pair that they are.
      dnsSettings: {
        dnsServers: ['168.63.129.16']
      }
      networkSecurityGroup: {
        id: group.id
      }
      ipConfigurations: [
        {
          name: 'main'
          properties: {
            privateIPAllocationMethod: 'Dynamic'
            subnet: {
              id: subnetId
            }
            loadBalancerBackendAddressPools: [
              {
                id: balancer.properties.backendAddressPools[0].id
              }
            ]
          }
        }
      ]
    }
  }
]

resource machines 'Microsoft.Compute/virtualMachines@2024-07-01' = [
  for (zone, index) in zones: {
    name: '${name}-${zone}'
    location: location
    zones: [zone]
    identity: {
      type: 'UserAssigned'
      userAssignedIdentities: {
        '${identity.id}': {}
      }
    }
    properties: {
      hardwareProfile: {
        vmSize: size
      }
      securityProfile: {
        securityType: 'TrustedLaunch'
        uefiSettings: {
          secureBootEnabled: true
          vTpmEnabled: true
        }
      }
      storageProfile: {
        imageReference: {
          publisher: 'Debian'
          offer: 'debian-12'
          sku: '12-gen2'
          version: 'latest'
        }
        osDisk: {
          createOption: 'FromImage'
          managedDisk: {
            storageAccountType: 'StandardSSD_LRS'
          }
        }
      }
      osProfile: {
        computerName: '${name}-${zone}'
        adminUsername: adminUsername
        customData: base64(cloudInit)
        linuxConfiguration: {
          disablePasswordAuthentication: true
          ssh: {
            publicKeys: [
              {
                path: '/home/${adminUsername}/.ssh/authorized_keys'
                keyData: adminPublicKey
              }
            ]
          }
        }
      }
      networkProfile: {
        networkInterfaces: [
          {
            id: interfaces[index].id
          }
        ]
      }
    }
  }
]

@description('The DNS server\'s address: ask it with dig, then set it as the DNS server of the network.')
output dnsServer string = address

@description('Principal id of the machines\' identity, for the role of discovery.')
output principalId string = identity.properties.principalId
