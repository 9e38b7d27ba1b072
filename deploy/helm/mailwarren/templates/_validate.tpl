{{/* What a schema cannot say. Each failure names the key. */}}
{{- define "mailwarren.validate" -}}
{{- include "mailwarren.checkFleets" . -}}
{{- $external := .Values.rabbitmq.external -}}
{{- $existing := .Values.credentials.existingSecrets -}}
{{- if eq .Values.rabbitmq.mode "external" -}}
  {{- range list "ingest" "sender" "tracker" "setup" -}}
    {{- $own := and (ne . "setup") (index $external.urls .) -}}
    {{- $needed := or (ne . "setup") $.Values.setup.enabled -}}
    {{- if and $needed (not (or $external.url $own (index $existing .))) -}}
      {{- fail (printf "rabbitmq.external.url: needed with rabbitmq.mode=external, unless credentials.existingSecrets.%s names a Secret%s." . (ternary "" (printf " or rabbitmq.external.urls.%s is given" .) (eq . "setup"))) -}}
    {{- end -}}
  {{- end -}}
  {{- range $name, $url := merge (dict "url" $external.url) $external.urls -}}
    {{- if and $url (ne $name "management") (not (regexMatch "^amqps?://[^@/]+@[^/]+/.+" $url)) -}}
      {{- fail (printf "rabbitmq.external.%s: has to be amqp(s)://user:password@host:port/vhost." (ternary $name (printf "urls.%s" $name) (eq $name "url"))) -}}
    {{- end -}}
  {{- end -}}
{{- else if or $external.url $external.urls.ingest $external.urls.sender $external.urls.tracker -}}
  {{- fail (printf "rabbitmq.external: given, but rabbitmq.mode is %s; set rabbitmq.mode=external." .Values.rabbitmq.mode) -}}
{{- end -}}
{{- $database := .Values.postgresql.external -}}
{{- if eq .Values.postgresql.mode "external" -}}
  {{- range list "ingest" "tracker" "setup" -}}
    {{- $own := and (ne . "setup") (index $database.urls .) -}}
    {{- $needed := or (ne . "setup") $.Values.setup.enabled -}}
    {{- if and $needed (not (or $database.url $own (index $existing .))) -}}
      {{- fail (printf "postgresql.external.url: needed with postgresql.mode=external, unless credentials.existingSecrets.%s names a Secret%s." . (ternary "" (printf " or postgresql.external.urls.%s is given" .) (eq . "setup"))) -}}
    {{- end -}}
  {{- end -}}
  {{- range $name, $url := merge (dict "url" $database.url) $database.urls -}}
    {{- if and $url (not (regexMatch "^postgres(ql)?://[^@/]+@[^/]+/.+" $url)) -}}
      {{- fail (printf "postgresql.external.%s: has to be postgresql://user:password@host:port/database." (ternary $name (printf "urls.%s" $name) (eq $name "url"))) -}}
    {{- end -}}
  {{- end -}}
{{- else if or $database.url $database.urls.ingest $database.urls.tracker -}}
  {{- fail (printf "postgresql.external: given, but postgresql.mode is %s; set postgresql.mode=external." .Values.postgresql.mode) -}}
{{- end -}}
{{- if and .Values.accounts.seed .Values.accounts.existingSecret -}}
  {{- fail "accounts.seed: excludes accounts.existingSecret; leave one of them empty." -}}
{{- end -}}
{{- if and (eq .Values.postgresql.mode "cloudnativepg") .Values.accounts.existingSecret -}}
  {{- range $role, $secret := .Values.postgresql.cloudnativepg.roleSecrets -}}
    {{- if not $secret -}}
      {{- fail (printf "postgresql.cloudnativepg.roleSecrets.%s: needed with accounts.existingSecret; CloudNativePG reads a Secret with username and password." $role) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.sink.enabled (or .Values.smtp.url .Values.smtp.existingSecret) -}}
  {{- fail "sink.enabled: the sink takes all mail, so smtp.url and smtp.existingSecret have to be empty." -}}
{{- end -}}
{{- if and .Values.smtp.url .Values.smtp.existingSecret -}}
  {{- fail "smtp.url: excludes smtp.existingSecret; leave one of them empty." -}}
{{- end -}}
{{- $auto := .Values.ingest.autoscaling -}}
{{- if ne $auto.type "none" -}}
  {{- if not (kindIs "invalid" .Values.ingest.replicas) -}}
    {{- fail "ingest.replicas: excludes ingest.autoscaling.type=hpa; leave replicas out." -}}
  {{- end -}}
  {{- if gt (int $auto.min) (int $auto.max) -}}
    {{- fail (printf "ingest.autoscaling.min: %d is above ingest.autoscaling.max (%d)." (int $auto.min) (int $auto.max)) -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.bootstrap.enabled (not .Values.setup.enabled) -}}
  {{- fail "bootstrap.enabled: the first API key is made by setup; set setup.enabled, or bootstrap.enabled=false." -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
  {{- fail "gateway.parentRefs: needed with gateway.enabled." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
  {{- fail "ingress.hosts: needed with ingress.enabled." -}}
{{- end -}}
{{- end }}
