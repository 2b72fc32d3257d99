{{- define "pldns.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pldns.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "pldns.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pldns.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pldns.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pldns.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pldns.labels" -}}
{{ include "pldns.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: dns
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pldns.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pldns.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pldns.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The encrypted listeners that the values turn on: name to port and protocol. */ -}}
{{- define "pldns.encrypted" -}}
{{- if .Values.tls.secret -}}
{{- with .Values.tls.tlsPort }}
dns-tls: {port: {{ . }}, protocol: TCP}
{{- end }}
{{- with .Values.tls.httpsPort }}
dns-https: {port: {{ . }}, protocol: TCP}
{{- end }}
{{- with .Values.tls.quicPort }}
dns-quic: {port: {{ . }}, protocol: UDP}
{{- end }}
{{- end -}}
{{- end -}}
