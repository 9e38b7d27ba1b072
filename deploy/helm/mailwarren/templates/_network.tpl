{{/* Pieces of network policies. Each is an entry of egress or ingress. */}}

{{/* A peer list or nothing. Args: peers, direction (to or from). */}}
{{- define "mailwarren.peers" -}}
{{- with .peers }}
{{ $.direction }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* TCP ports. Args: list of numbers. */}}
{{- define "mailwarren.tcpPorts" -}}
ports:
  {{- range . }}
  - {protocol: TCP, port: {{ . | int64 }}}
  {{- end }}
{{- end }}

{{/* Pods of this release. Args: root, components (list). */}}
{{- define "mailwarren.podPeers" -}}
{{- range .components }}
- podSelector:
    matchLabels: {{- include "mailwarren.selectorLabels" (dict "root" $.root "component" .) | nindent 6 }}
{{- end }}
{{- end }}

{{- define "mailwarren.dnsEgress" -}}
- {{- include "mailwarren.peers" (dict "peers" .Values.networkPolicy.dns.to "direction" "to") | trim | nindent 2 }}
  ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - {protocol: UDP, port: {{ . | int64 }}}
    - {protocol: TCP, port: {{ . | int64 }}}
    {{- end }}
{{- end }}

{{/* The broker. Args: root, management (true opens its API too). */}}
{{- define "mailwarren.brokerEgress" -}}
{{- $policy := .root.Values.networkPolicy.rabbitmq -}}
{{- $ports := list 5672 -}}
{{- if eq .root.Values.rabbitmq.mode "external" -}}
  {{- $ports = $policy.ports -}}
  {{- if .management }}{{ $ports = concat $ports $policy.managementPorts }}{{ end -}}
{{- else if .management -}}
  {{- $ports = append $ports 15672 -}}
{{- end -}}
- {{- if eq .root.Values.rabbitmq.mode "trial" }}
  to: {{- include "mailwarren.podPeers" (dict "root" .root "components" (list "rabbitmq")) | trim | nindent 4 }}
  {{- else if eq .root.Values.rabbitmq.mode "operator" }}
  to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: {{ include "mailwarren.fullname" .root }}-rabbitmq
  {{- else }}
  {{- include "mailwarren.peers" (dict "peers" $policy.to "direction" "to") | trim | nindent 2 }}
  {{- end }}
  {{- include "mailwarren.tcpPorts" $ports | nindent 2 }}
{{- end }}

{{- define "mailwarren.databaseEgress" -}}
- {{- if eq .Values.postgresql.mode "trial" }}
  to: {{- include "mailwarren.podPeers" (dict "root" . "components" (list "postgres")) | trim | nindent 4 }}
  {{- include "mailwarren.tcpPorts" (list 5432) | nindent 2 }}
  {{- else if eq .Values.postgresql.mode "cloudnativepg" }}
  to:
    - podSelector:
        matchLabels:
          cnpg.io/cluster: {{ include "mailwarren.fullname" . }}-postgres
  {{- include "mailwarren.tcpPorts" (list 5432) | nindent 2 }}
  {{- else }}
  {{- include "mailwarren.peers" (dict "peers" .Values.networkPolicy.postgresql.to "direction" "to") | trim | nindent 2 }}
  {{- include "mailwarren.tcpPorts" .Values.networkPolicy.postgresql.ports | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Where errors and spans go, if anywhere. */}}
{{- define "mailwarren.telemetryEgress" -}}
{{- if or .Values.sentry.dsn .Values.sentry.existingSecret .Values.otel.endpoint }}
- {{- include "mailwarren.peers" (dict "peers" .Values.networkPolicy.telemetry.to "direction" "to") | trim | nindent 2 }}
  {{- include "mailwarren.tcpPorts" .Values.networkPolicy.telemetry.ports | nindent 2 }}
{{- end }}
{{- end }}

{{/* The blob store, and where attachments are fetched from. */}}
{{- define "mailwarren.blobEgress" -}}
{{- if .Values.attachments.url }}
- {{- include "mailwarren.peers" (dict "peers" .Values.networkPolicy.attachments.to "direction" "to") | trim | nindent 2 }}
  {{- include "mailwarren.tcpPorts" .Values.networkPolicy.attachments.ports | nindent 2 }}
{{- end }}
{{- end }}

{{/* Who may read metrics. Args: root, port. */}}
{{- define "mailwarren.metricsIngress" -}}
- {{- include "mailwarren.peers" (dict "peers" .root.Values.networkPolicy.metrics.from "direction" "from") | trim | nindent 2 }}
  {{- include "mailwarren.tcpPorts" (list .port) | nindent 2 }}
{{- end }}

{{/* The spec for setup: servers, and the Kubernetes API for the owner's Secret. */}}
{{- define "mailwarren.setupPolicy" -}}
podSelector:
  matchLabels: {{- include "mailwarren.selectorLabels" (dict "root" . "component" "setup") | nindent 4 }}
policyTypes: [Ingress, Egress]
egress:
  {{- include "mailwarren.dnsEgress" . | nindent 2 }}
  {{- include "mailwarren.brokerEgress" (dict "root" . "management" true) | nindent 2 }}
  {{- include "mailwarren.databaseEgress" . | nindent 2 }}
  {{- if .Values.bootstrap.enabled }}
  - {{- include "mailwarren.peers" (dict "peers" .Values.networkPolicy.kubernetes.to "direction" "to") | trim | nindent 4 }}
    {{- include "mailwarren.tcpPorts" .Values.networkPolicy.kubernetes.ports | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Name, labels and pods of a policy. Args: root, component. */}}
{{- define "mailwarren.policyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "mailwarren.fullname" .root }}-{{ .component }}
  labels: {{- include "mailwarren.labels" . | nindent 4 }}
{{- end }}
{{- define "mailwarren.policySelector" -}}
podSelector:
  matchLabels: {{- include "mailwarren.selectorLabels" . | nindent 4 }}
policyTypes: [Ingress, Egress]
{{- end }}
