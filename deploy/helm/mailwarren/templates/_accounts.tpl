{{/* Passwords, and the URLs that each service connects with. */}}

{{/* The passwords, made once in a rendering: kept in .Values, which all templates share, because a random value would
     differ in each template that asks. An installed release keeps those it has. Returns YAML. */}}
{{- define "mailwarren.passwords" -}}
{{- if not (hasKey .Values "_passwords") -}}
  {{- $name := printf "%s-accounts" (include "mailwarren.fullname" .) -}}
  {{- $found := (lookup "v1" "Secret" .Release.Namespace $name).data | default dict -}}
  {{- $passwords := dict -}}
  {{- range include "mailwarren.passwordKeys" . | splitList " " -}}
    {{- if $.Values.accounts.seed -}}
      {{- $_ := set $passwords . (printf "%s/%s/%s" $.Values.accounts.seed $name . | sha256sum | trunc 40) -}}
    {{- else if hasKey $found . -}}
      {{- $_ := set $passwords . (index $found . | b64dec) -}}
    {{- else -}}
      {{- $_ := set $passwords . (randAlphaNum 40) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set .Values "_passwords" $passwords -}}
{{- end -}}
{{- toYaml .Values._passwords -}}
{{- end }}

{{/* The keys of the passwords, one space between them. Flower has an account where it is wanted, and a login for people. */}}
{{- define "mailwarren.passwordKeys" -}}
ingest-password sender-password tracker-password rabbitmq-admin-password postgres-owner-password{{ if .Values.flower.enabled }} flower-password flower-login{{ end }} internal-token{{ if .Values.publicUrl }} link-keys{{ end }}
{{- end }}

{{/* The password as it stands in a URL: itself, or a reference to a variable that Kubernetes fills in. A service has one
     for both servers, so a role of yours gives its own to the RabbitMQ user too. Args: root, key. */}}
{{- define "mailwarren.password" -}}
{{- $role := index .root.Values.postgresql.external.urls (trimSuffix "-password" .key) -}}
{{- if and $role (eq .root.Values.postgresql.mode "external") -}}
{{ regexReplaceAll "^[^:]+://[^:@/]+:([^@/]*)@.*$" $role "${1}" }}
{{- else if .root.Values.accounts.existingSecret -}}
$({{ .key | upper | replace "-" "_" }})
{{- else -}}
{{ index (include "mailwarren.passwords" .root | fromYaml) .key }}
{{- end -}}
{{- end }}

{{/* The Postgres role of a service. Args: root, service. */}}
{{- define "mailwarren.role" -}}
{{ printf "%s-%s" .root.Values.accounts.name .service | replace "-" "_" }}
{{- end }}

{{/* A URL for another account: what stands before the @ is replaced. Args: url, user, password. */}}
{{- define "mailwarren.urlFor" -}}
{{- $parts := urlParse .url -}}
{{ $parts.scheme }}://{{ .user }}:{{ .password }}@{{ $parts.host }}{{ $parts.path }}{{ with $parts.query }}?{{ . }}{{ end }}
{{- end }}

{{/* The virtual host: of an external broker it is the path of its URL. */}}
{{- define "mailwarren.vhost" -}}
{{- $external := .Values.rabbitmq.external -}}
{{- $url := $external.url | default $external.urls.ingest -}}
{{- if and (eq .Values.rabbitmq.mode "external") $url -}}
{{ (urlParse $url).path | trimPrefix "/" }}
{{- else -}}
{{ .Values.rabbitmq.vhost }}
{{- end -}}
{{- end }}

{{- define "mailwarren.rabbitmqHost" -}}
{{ include "mailwarren.fullname" . }}-rabbitmq.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "mailwarren.postgresHost" -}}
{{ include "mailwarren.fullname" . }}-postgres{{ if eq .Values.postgresql.mode "cloudnativepg" }}-rw{{ end }}.{{ .Release.Namespace }}.svc
{{- end }}

{{/* The management API of an external broker's administrator. */}}
{{- define "mailwarren.externalAdminUrl" -}}
{{- $given := .Values.rabbitmq.external -}}
{{- if $given.adminUrl -}}
{{ trimSuffix "/" $given.adminUrl }}
{{- else if $given.url -}}
  {{- $parts := urlParse $given.url -}}
  {{- $tls := eq $parts.scheme "amqps" -}}
{{ ternary "https" "http" $tls }}://{{ with $parts.userinfo }}{{ . }}@{{ end }}{{ regexReplaceAll ":[0-9]+$" $parts.host "" }}:{{ ternary "15671" "15672" $tls }}
{{- end -}}
{{- end }}

{{/* Whether setup makes the broker's accounts ("true" or empty). */}}
{{- define "mailwarren.makesBrokerAccounts" -}}
{{- $urls := .Values.rabbitmq.external.urls -}}
{{- if or (ne .Values.rabbitmq.mode "external") (and .Values.rabbitmq.external.url (not (and $urls.ingest $urls.sender $urls.tracker))) -}}
true
{{- end -}}
{{- end }}

{{/* Whether setup makes the database's roles, or grants those that are there what they need. */}}
{{- define "mailwarren.makesRoles" -}}
{{- if or (ne .Values.postgresql.mode "external") .Values.postgresql.external.url -}}
true
{{- end -}}
{{- end }}

{{/* AMQP URL of a service. Args: root, service (ingest, sender, tracker, flower, setup). */}}
{{- define "mailwarren.amqpUrl" -}}
{{- $rabbitmq := .root.Values.rabbitmq -}}
{{- $password := include "mailwarren.password" (dict "root" .root "key" (printf "%s-password" .service)) -}}
{{- if eq $rabbitmq.mode "external" -}}
  {{- if eq .service "setup" -}}
{{ $rabbitmq.external.url }}
  {{- else if index $rabbitmq.external.urls .service -}}
{{ index $rabbitmq.external.urls .service }}
  {{- else -}}
{{ include "mailwarren.urlFor" (dict "url" $rabbitmq.external.url "user" (printf "%s-%s" .root.Values.accounts.name .service) "password" $password) }}
  {{- end -}}
{{- else -}}
amqp://{{ include "mailwarren.brokerLogin" . }}@{{ include "mailwarren.rabbitmqHost" .root }}:5672/{{ $rabbitmq.vhost | urlquery }}
{{- end -}}
{{- end }}

{{/* user:password of a service at a broker of this release. Args: root, service. */}}
{{- define "mailwarren.brokerLogin" -}}
{{- if ne .service "setup" -}}
{{ .root.Values.accounts.name }}-{{ .service }}:{{ include "mailwarren.password" (dict "root" .root "key" (printf "%s-password" .service)) }}
{{- else if eq .root.Values.rabbitmq.mode "operator" -}}
$(BROKER_USERNAME):$(BROKER_PASSWORD)
{{- else -}}
mailwarren-admin:{{ include "mailwarren.password" (dict "root" .root "key" "rabbitmq-admin-password") }}
{{- end -}}
{{- end }}

{{/* The management API as a service; empty where there is none. Args: root, service (ingest, setup). */}}
{{- define "mailwarren.managementUrl" -}}
{{- $rabbitmq := .root.Values.rabbitmq -}}
{{- if ne $rabbitmq.mode "external" -}}
http://{{ include "mailwarren.brokerLogin" . }}@{{ include "mailwarren.rabbitmqHost" .root }}:15672
{{- else if eq .service "setup" -}}
{{ include "mailwarren.externalAdminUrl" .root }}
{{- else if $rabbitmq.external.urls.management -}}
{{ trimSuffix "/" $rabbitmq.external.urls.management }}
{{- else if and $rabbitmq.external.url (not $rabbitmq.external.urls.ingest) -}}
{{ include "mailwarren.urlFor" (dict "url" (include "mailwarren.externalAdminUrl" .root) "user" (printf "%s-ingest" .root.Values.accounts.name) "password" (include "mailwarren.password" (dict "root" .root "key" "ingest-password"))) }}
{{- end -}}
{{- end }}

{{/* Postgres URL of a service. Args: root, service (ingest, tracker, setup). */}}
{{- define "mailwarren.databaseUrl" -}}
{{- $postgresql := .root.Values.postgresql -}}
{{- $owner := eq .service "setup" -}}
{{- $password := include "mailwarren.password" (dict "root" .root "key" (ternary "postgres-owner-password" (printf "%s-password" .service) $owner)) -}}
{{- if eq $postgresql.mode "external" -}}
  {{- if $owner -}}
{{ $postgresql.external.url }}
  {{- else if index $postgresql.external.urls .service -}}
{{ index $postgresql.external.urls .service }}
  {{- else -}}
{{ include "mailwarren.urlFor" (dict "url" $postgresql.external.url "user" (include "mailwarren.role" .) "password" $password) }}
  {{- end -}}
{{- else -}}
postgresql://{{ ternary "mailwarren" (include "mailwarren.role" .) $owner }}:{{ $password }}@{{ include "mailwarren.postgresHost" .root }}:5432/{{ $postgresql.database }}
{{- end -}}
{{- end }}

{{/* Every secret variable of a service. Args: root, service. Returns YAML: variable: value. */}}
{{- define "mailwarren.secretValues" -}}
{{- $values := dict "MAILWARREN_AMQP_URL" (include "mailwarren.amqpUrl" .) -}}
{{- if not (has .service (list "sender" "flower")) -}}
  {{- $_ := set $values "MAILWARREN_DATABASE_URL" (include "mailwarren.databaseUrl" .) -}}
{{- end -}}
{{- if and (not .root.Values.accounts.existingSecret) (has .service (list "ingest" "sender")) -}}
  {{- $_ := set $values "MAILWARREN_INTERNAL_TOKEN" (include "mailwarren.password" (dict "root" .root "key" "internal-token")) -}}
{{- end -}}
{{- if and .root.Values.publicUrl (eq .service "ingest") -}}
  {{- $_ := set $values "MAILWARREN_LINK_KEYS" (include "mailwarren.password" (dict "root" .root "key" "link-keys")) -}}
{{- end -}}
{{- if eq .service "ingest" -}}
  {{- with include "mailwarren.managementUrl" . -}}
    {{- $_ := set $values "MAILWARREN_MANAGEMENT_URL" . -}}
  {{- end -}}
{{- end -}}
{{- if and (eq .service "flower") (not .root.Values.flower.existingSecret) -}}
  {{- $_ := set $values "MAILWARREN_FLOWER_AUTH" (printf "flower:%s" (index (include "mailwarren.passwords" .root | fromYaml) "flower-login")) -}}
{{- end -}}
{{- if eq .service "sender" -}}
  {{- $smtp := .root.Values.smtp -}}
  {{- if .root.Values.sink.enabled -}}
    {{- $_ := set $values "MAILWARREN_SMTP_URL" (printf "smtp://%s-sink.%s.svc:2525" (include "mailwarren.fullname" .root) .root.Release.Namespace) -}}
  {{- else if and $smtp.url (not $smtp.existingSecret) -}}
    {{- $_ := set $values "MAILWARREN_SMTP_URL" $smtp.url -}}
  {{- end -}}
{{- end -}}
{{- if eq .service "setup" -}}
  {{- if include "mailwarren.makesBrokerAccounts" .root -}}
    {{- $_ := set $values "MAILWARREN_BROKER_ADMIN_URL" (include "mailwarren.managementUrl" .) -}}
    {{- /* Names ingest's user, which setup then lets read the management API. */ -}}
    {{- with include "mailwarren.managementUrl" (dict "root" .root "service" "ingest") -}}
      {{- $_ := set $values "MAILWARREN_MANAGEMENT_URL" . -}}
    {{- end -}}
  {{- end -}}
  {{- if or (include "mailwarren.makesBrokerAccounts" .root) (include "mailwarren.makesRoles" .root) -}}
    {{- range list "ingest" "sender" "tracker" -}}
      {{- $_ := set $values (printf "MAILWARREN_%s_PASSWORD" (upper .)) (include "mailwarren.password" (dict "root" $.root "key" (printf "%s-password" .))) -}}
    {{- end -}}
    {{- if .root.Values.flower.enabled -}}
      {{- $_ := set $values "MAILWARREN_FLOWER_PASSWORD" (include "mailwarren.password" (dict "root" .root "key" "flower-password")) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toYaml $values -}}
{{- end }}

{{/* Those of them that stand in the Secret <release>-<service>: all without a reference to another variable. */}}
{{- define "mailwarren.secretData" -}}
{{- $data := dict -}}
{{- if not (index .root.Values.credentials.existingSecrets .service) -}}
  {{- range $name, $value := include "mailwarren.secretValues" . | fromYaml -}}
    {{- if not (contains "$(" $value) -}}
      {{- $_ := set $data $name $value -}}
    {{- end -}}
  {{- end -}}
{{- else if eq .service "sender" -}}
  {{- with (include "mailwarren.secretValues" . | fromYaml).MAILWARREN_SMTP_URL -}}
    {{- $_ := set $data "MAILWARREN_SMTP_URL" . -}}
  {{- end -}}
{{- else if eq .service "flower" -}}
  {{- with (include "mailwarren.secretValues" . | fromYaml).MAILWARREN_FLOWER_AUTH -}}
    {{- $_ := set $data "MAILWARREN_FLOWER_AUTH" . -}}
  {{- end -}}
{{- end -}}
{{- toYaml $data -}}
{{- end }}
