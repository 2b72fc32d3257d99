// The role that discovery needs, for one subscription: a role definition, and its assignment to an identity.
//
//     az deployment sub create --location REGION --template-file discover.bicep --parameters principalId=ID

targetScope = 'subscription'

@description('Beginning of the role\'s name.')
param name string = 'pldns'

@description('Principal id of the identity that reads: the output principalId of main.bicep.')
param principalId string

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, name, 'discovery')
  properties: {
    roleName: '${name} discovery ${subscription().subscriptionId}'
    description: 'Reads private endpoints, their interfaces, virtual networks, workspaces, linked private DNS zones and zone groups.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Network/privateEndpoints/read'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.MachineLearningServices/workspaces/read'
          'Microsoft.MachineLearningServices/workspaces/computes/read'
          'Microsoft.Network/privateDnsZones/read'
          'Microsoft.Network/privateDnsZones/virtualNetworkLinks/read'
          'Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: [
      subscription().id
    ]
  }
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, name, principalId)
  properties: {
    roleDefinitionId: role.id
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
