//! The members of Azure Resource Manager's objects that discovery uses, those that `generate` reads of them included.

use super::page::Shape::{self, Object, Value};

const ID: &[(&str, Shape)] = &[("id", Value)];

const CONNECTIONS: Shape = Object(&[
    ("name", Value),
    (
        "properties",
        Object(&[
            ("privateLinkServiceId", Value),
            ("groupIds", Value),
            ("privateLinkServiceConnectionState", Object(&[("status", Value)])),
        ]),
    ),
]);

/// Private endpoints.
pub(super) const ENDPOINT: Shape = Object(&[
    ("id", Value),
    ("name", Value),
    ("type", Value),
    ("location", Value),
    (
        "properties",
        Object(&[
            ("provisioningState", Value),
            ("privateLinkServiceConnections", CONNECTIONS),
            ("manualPrivateLinkServiceConnections", CONNECTIONS),
            ("customDnsConfigs", Object(&[("fqdn", Value), ("ipAddresses", Value)])),
            (
                "ipConfigurations",
                Object(&[(
                    "properties",
                    Object(&[("groupId", Value), ("memberName", Value), ("privateIPAddress", Value)]),
                )]),
            ),
            ("networkInterfaces", Object(ID)),
            ("subnet", Object(ID)),
        ]),
    ),
]);

/// Network interfaces.
pub(super) const INTERFACE: Shape = Object(&[
    ("id", Value),
    ("name", Value),
    ("type", Value),
    (
        "properties",
        Object(&[
            ("privateEndpoint", Object(ID)),
            (
                "ipConfigurations",
                Object(&[(
                    "properties",
                    Object(&[
                        ("privateIPAddress", Value),
                        ("privateLinkConnectionProperties", Object(&[("groupId", Value), ("fqdns", Value)])),
                    ]),
                )]),
            ),
        ]),
    ),
]);

/// Virtual networks.
pub(super) const NETWORK: Shape = Object(&[
    ("id", Value),
    ("location", Value),
    (
        "properties",
        Object(&[
            ("addressSpace", Object(&[("addressPrefixes", Value)])),
            (
                "virtualNetworkPeerings",
                Object(&[("properties", Object(&[("peeringState", Value), ("remoteVirtualNetwork", Object(ID))]))]),
            ),
        ]),
    ),
]);

/// Private DNS zones.
pub(super) const ZONE: Shape =
    Object(&[("id", Value), ("name", Value), ("properties", Object(&[("numberOfRecordSets", Value)]))]);

/// Links of private DNS zones to virtual networks.
pub(super) const ZONE_LINK: Shape = Object(&[("id", Value), ("properties", Object(&[("virtualNetwork", Object(ID))]))]);

/// Zone groups of private endpoints.
pub(super) const ZONE_GROUP: Shape = Object(&[
    ("id", Value),
    ("name", Value),
    (
        "properties",
        Object(&[("privateDnsZoneConfigs", Object(&[("properties", Object(&[("privateDnsZoneId", Value)]))]))]),
    ),
]);

/// Workspaces.
pub(super) const WORKSPACE: Shape = Object(&[
    ("id", Value),
    ("name", Value),
    ("type", Value),
    ("kind", Value),
    ("location", Value),
    (
        "properties",
        Object(&[
            ("workspaceId", Value),
            ("discoveryUrl", Value),
            ("notebookInfo", Object(&[("fqdn", Value)])),
            ("hubResourceId", Value),
            ("storageAccount", Value),
            ("keyVault", Value),
            ("containerRegistry", Value),
            (
                "privateEndpointConnections",
                Object(&[(
                    "properties",
                    Object(&[
                        ("privateEndpoint", Object(ID)),
                        ("privateLinkServiceConnectionState", Object(&[("status", Value)])),
                    ]),
                )]),
            ),
        ]),
    ),
]);

/// Computes of a workspace.
pub(super) const COMPUTE: Shape = Object(&[
    ("id", Value),
    ("name", Value),
    ("type", Value),
    ("location", Value),
    (
        "properties",
        Object(&[
            ("computeType", Value),
            ("properties", Object(&[("applications", Object(&[("endpointUri", Value)]))])),
        ]),
    ),
]);

/// What is below a management group.
pub(super) const DESCENDANT: Shape = Object(&[("id", Value), ("name", Value), ("type", Value)]);
