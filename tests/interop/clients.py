"""dnspython by each encrypted transport: TLS, HTTPS over HTTP/1.1 and HTTP/2 (httpx), QUIC (aioquic).

Usage: clients.py PLAIN_PORT TLS_AND_QUIC_PORT HTTPS_PORT AUTHORITY NAME...
Prints a line for each transport: how many answers were those of TCP.
"""

import sys

import dns.edns
import dns.message
import dns.query

plain, encrypted, https = (int(port) for port in sys.argv[1:4])
authority, names = sys.argv[4], sys.argv[5:]
HERE, NAME = "127.0.0.1", "dns.example"
shared = {"timeout": 5}
by_tls = shared | {"server_hostname": NAME, "verify": authority}


def by_https(version):
    def ask(query):
        url = f"https://{NAME}:{https}/dns-query"
        return dns.query.https(
            query, url, bootstrap_address=HERE, verify=authority, http_version=version, **shared
        )

    return ask


TRANSPORTS = {
    "tls": lambda query: dns.query.tls(query, HERE, port=encrypted, **by_tls),
    "https 1.1": by_https(dns.query.HTTPVersion.H1),
    "https 2": by_https(dns.query.HTTPVersion.H2),
    "quic": lambda query: dns.query.quic(query, HERE, port=encrypted, **by_tls),
}

def told(reply):
    """What a reply says, but for the times to live, which are counted down."""
    sections = [(rrset.name, rrset.rdtype, sorted(map(str, rrset))) for rrset in reply.answer + reply.authority]
    return reply.rcode(), reply.flags, sections


questions = [(name, rtype) for name in names for rtype in ("A", "AAAA", "TXT", "HTTPS", "ANY")]
for transport, ask in TRANSPORTS.items():
    same = 0
    for name, rtype in questions:
        query = dns.message.make_query(name, rtype, use_edns=0)
        expected = dns.query.tcp(query, HERE, port=plain, **shared)
        got = ask(query)
        if told(got) == told(expected):
            same += 1
        else:
            print(f"{transport}: {name} {rtype}: {told(got)} in place of {told(expected)}")
    print(f"{transport}: {same} of {len(questions)}")

# Padded where the client padded (RFC 8467).
padding = dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(20))
padded = dns.message.make_query(names[0], "A", options=[padding])
for transport in ("tls", "quic"):
    wire = TRANSPORTS[transport](padded).wire
    print(f"{transport}: padded to {len(wire) if wire else 'nothing'}")
