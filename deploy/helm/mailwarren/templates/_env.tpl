{{/* Environment of the pods. */}}

{{/* A variable out of a Secret. Args: name, secret, key, optional. */}}
{{- define "mailwarren.secretRef" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}

{{/* The secret variables of a service. Args: root, service, secret (its Secret's name). */}}
{{- define "mailwarren.secretEnv" -}}
{{- $fullname := include "mailwarren.fullname" .root -}}
{{- $existing := index .root.Values.credentials.existingSecrets .service -}}
{{- $values := include "mailwarren.secretValues" . | fromYaml -}}
{{- if $existing -}}
  {{- $names := dict "MAILWARREN_AMQP_URL" false -}}
  {{- if not (has .service (list "sender" "flower")) }}{{ $_ := set $names "MAILWARREN_DATABASE_URL" false }}{{ end -}}
  {{- if eq .service "ingest" }}{{ $_ := set $names "MAILWARREN_MANAGEMENT_URL" true }}{{ end -}}
  {{- if has .service (list "ingest" "sender") }}{{ $_ := set $names "MAILWARREN_INTERNAL_TOKEN" (not .root.Values.attachments.url) }}{{ end -}}
  {{- if and .root.Values.publicUrl (eq .service "ingest") }}{{ $_ := set $names "MAILWARREN_LINK_KEYS" false }}{{ end -}}
  {{- if eq .service "setup" -}}
    {{- range list "BROKER_ADMIN_URL" "MANAGEMENT_URL" "INGEST_PASSWORD" "SENDER_PASSWORD" "TRACKER_PASSWORD" "FLOWER_PASSWORD" -}}
      {{- $_ := set $names (printf "MAILWARREN_%s" .) true -}}
    {{- end -}}
  {{- end -}}
  {{- range $name, $optional := $names }}
{{ include "mailwarren.secretRef" (dict "name" $name "secret" $existing "key" $name "optional" $optional) }}
  {{- end -}}
  {{- if and (eq .service "flower") $values.MAILWARREN_FLOWER_AUTH }}
{{ include "mailwarren.secretRef" (dict "name" "MAILWARREN_FLOWER_AUTH" "secret" .secret "key" "MAILWARREN_FLOWER_AUTH") }}
  {{- end -}}
  {{- if and (eq .service "sender") $values.MAILWARREN_SMTP_URL }}
{{ include "mailwarren.secretRef" (dict "name" "MAILWARREN_SMTP_URL" "secret" .secret "key" "MAILWARREN_SMTP_URL") }}
  {{- end -}}
{{- else -}}
  {{- /* What the URLs refer to comes first: Kubernetes fills in only what it has met. */ -}}
  {{- $all := values $values | join " " -}}
  {{- range include "mailwarren.passwordKeys" .root | splitList " " -}}
    {{- $name := . | upper | replace "-" "_" -}}
    {{- if contains (printf "$(%s)" $name) $all }}
{{ include "mailwarren.secretRef" (dict "name" $name "secret" $.root.Values.accounts.existingSecret "key" .) }}
    {{- end -}}
  {{- end -}}
  {{- if and .root.Values.accounts.existingSecret (has .service (list "ingest" "sender")) }}
{{ include "mailwarren.secretRef" (dict "name" "MAILWARREN_INTERNAL_TOKEN" "secret" .root.Values.accounts.existingSecret "key" "internal-token" "optional" (not .root.Values.attachments.url)) }}
  {{- end -}}
  {{- if contains "$(BROKER_USERNAME)" $all }}
{{ include "mailwarren.secretRef" (dict "name" "BROKER_USERNAME" "secret" (printf "%s-rabbitmq-default-user" $fullname) "key" "username") }}
{{ include "mailwarren.secretRef" (dict "name" "BROKER_PASSWORD" "secret" (printf "%s-rabbitmq-default-user" $fullname) "key" "password") }}
  {{- end -}}
  {{- range $name, $value := $values -}}
    {{- if contains "$(" $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
    {{- else if $value }}
{{ include "mailwarren.secretRef" (dict "name" $name "secret" $.secret "key" $name) }}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and (eq .service "sender") .root.Values.smtp.existingSecret (not .root.Values.sink.enabled) }}
{{ include "mailwarren.secretRef" (dict "name" "MAILWARREN_SMTP_URL" "secret" .root.Values.smtp.existingSecret "key" "MAILWARREN_SMTP_URL") }}
{{- end -}}
{{- end }}

{{/* What all services read. */}}
{{- define "mailwarren.commonEnv" -}}
- name: MAILWARREN_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: MAILWARREN_RETRY_SCALE
  value: {{ .Values.retryScale | quote }}
{{- with .Values.rabbitmq.prefix }}
- name: MAILWARREN_AMQP_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* What stands before links in mail; for the services that make parcels. */}}
{{- define "mailwarren.publicEnv" -}}
{{- with .Values.publicUrl }}
- name: MAILWARREN_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.tracking.host }}
- name: MAILWARREN_TRACKING_HOST
  value: {{ . | quote }}
{{- end }}
{{- if .Values.tracking.ips }}
- name: MAILWARREN_TRACKING_IPS
  value: "true"
{{- end }}
{{- end }}

{{/* Where services report errors and spans: the variables that their SDKs know everywhere. */}}
{{- define "mailwarren.telemetryEnv" -}}
{{- if or .Values.sentry.dsn .Values.sentry.existingSecret }}
{{ include "mailwarren.secretRef" (dict "name" "SENTRY_DSN" "secret" (.Values.sentry.existingSecret | default (printf "%s-sentry" (include "mailwarren.fullname" .))) "key" "SENTRY_DSN") }}
- name: SENTRY_RELEASE
  value: {{ printf "mailwarren@%s" (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- with .Values.otel.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* extraEnv, unless it names what the chart sets: Kubernetes would take one of the two, server-side apply neither.
     Args: env (rendered), extra, key. */}}
{{- define "mailwarren.withExtraEnv" -}}
{{- $seen := dict -}}
{{- range fromYamlArray .env }}{{ $_ := set $seen .name true }}{{ end -}}
{{- range $n, $entry := .extra -}}
  {{- if hasKey $seen $entry.name -}}
    {{- fail (printf "%s[%d]: the chart itself sets %s; use the value for it." $.key $n $entry.name) -}}
  {{- end -}}
  {{- $_ := set $seen $entry.name true -}}
{{- end -}}
{{ trim .env }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}
