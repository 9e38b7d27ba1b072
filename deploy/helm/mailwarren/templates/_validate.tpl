{{/* What a schema cannot say. Each failure names the key. */}}
{{- define "mailwarren.validate" -}}
{{- include "mailwarren.checkUrls" . -}}
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
{{- else if or $database.url $database.urls.ingest $database.urls.tracker -}}
  {{- fail (printf "postgresql.external: given, but postgresql.mode is %s; set postgresql.mode=external." .Values.postgresql.mode) -}}
{{- end -}}
{{- $own := compact (list $external.urls.ingest $external.urls.sender $external.urls.tracker) -}}
{{- if and $external.url $own (ne (len $own) 3) -}}
  {{- fail "rabbitmq.external.urls: give ingest, sender and tracker, or none of them; setup makes all accounts or none." -}}
{{- end -}}
{{- if and $database.url (or $database.urls.ingest $database.urls.tracker) -}}
  {{- range $service := list "ingest" "tracker" -}}
    {{- $role := include "mailwarren.role" (dict "root" $ "service" $service) -}}
    {{- if not (regexMatch (printf "^[a-z]+://%s:[0-9A-Za-z]{8,128}@" $role) (index $database.urls $service)) -}}
      {{- fail (printf "postgresql.external.urls.%s: has to be of the role %s (accounts.name begins it) with a password of 8 to 128 letters and digits; setup grants that role what it needs." $service $role) -}}
    {{- end -}}
  {{- end -}}
  {{- if .Values.accounts.existingSecret -}}
    {{- fail "postgresql.external.urls: excludes accounts.existingSecret; a service has one password, and both say it." -}}
  {{- end -}}
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
{{- if .Values.flower.enabled -}}
  {{- if and (eq .Values.rabbitmq.mode "external") (not (or $external.urls.flower $existing.flower (include "mailwarren.makesBrokerAccounts" .))) -}}
    {{- fail "rabbitmq.external.urls.flower: needed with flower.enabled where the other accounts are yours, unless credentials.existingSecrets.flower names a Secret." -}}
  {{- end -}}
  {{- if and .Values.accounts.existingSecret (not .Values.flower.existingSecret) -}}
    {{- fail "flower.existingSecret: needed with flower.enabled and accounts.existingSecret; the chart makes no passwords then." -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.rabbitmqTargets (ne .Values.rabbitmq.mode "external") -}}
  {{- fail (printf "monitoring.podMonitor.rabbitmqTargets: given, but rabbitmq.mode is %s; PodMonitors find that broker." .Values.rabbitmq.mode) -}}
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

{{/* The form of URLs, and whether network policies let them through. Not in the schema, whose messages show the value: a URL holds a password. */}}
{{- define "mailwarren.checkUrls" -}}
{{- $amqp := dict "form" "amqp(s)://user:password@host:port/vhost" "like" "^amqps?://[^@/]+@[^@/]+/[^@/]+$" "policy" "rabbitmq" "ports" "ports" -}}
{{- $http := dict "form" "http(s)://user:password@host:port" "like" "^https?://[^@/]+@[^@/]+/?$" "policy" "rabbitmq" "ports" "managementPorts" -}}
{{- $postgres := dict "form" "postgresql://user:password@host:port/database" "like" "^postgres(ql)?://[^@/]+@[^@/]+/[^@/]+$" "policy" "postgresql" "ports" "ports" -}}
{{- $smtp := dict "form" "smtp://, smtp+starttls:// or smtps://user:password@host:port, special characters percent-encoded" "like" "^(smtp|smtps|smtp[+]starttls)://([^@/]+@)?[^@/]+$" "policy" "smtp" "ports" "ports" -}}
{{- $broker := .Values.rabbitmq.external -}}
{{- $database := .Values.postgresql.external -}}
{{- $checks := list
  (merge (dict "key" "rabbitmq.external.url" "url" $broker.url) $amqp)
  (merge (dict "key" "rabbitmq.external.adminUrl" "url" $broker.adminUrl) $http)
  (merge (dict "key" "rabbitmq.external.urls.ingest" "url" $broker.urls.ingest) $amqp)
  (merge (dict "key" "rabbitmq.external.urls.sender" "url" $broker.urls.sender) $amqp)
  (merge (dict "key" "rabbitmq.external.urls.tracker" "url" $broker.urls.tracker) $amqp)
  (merge (dict "key" "rabbitmq.external.urls.flower" "url" $broker.urls.flower) $amqp)
  (merge (dict "key" "rabbitmq.external.urls.management" "url" $broker.urls.management) $http)
  (merge (dict "key" "postgresql.external.url" "url" $database.url) $postgres)
  (merge (dict "key" "postgresql.external.urls.ingest" "url" $database.urls.ingest) $postgres)
  (merge (dict "key" "postgresql.external.urls.tracker" "url" $database.urls.tracker) $postgres)
  (merge (dict "key" "smtp.url" "url" .Values.smtp.url) $smtp)
  (merge (dict "key" "senderDefaults.smtp.url" "url" .Values.senderDefaults.smtp.url) $smtp) -}}
{{- range $n, $fleet := .Values.senders -}}
  {{- $checks = append $checks (merge (dict "key" (printf "senders[%d] (%s).smtp.url" $n $fleet.name) "url" (($fleet.smtp | default dict).url)) $smtp) -}}
{{- end -}}
{{- range $checks -}}
  {{- if and .url (not (regexMatch .like .url)) -}}
    {{- fail (printf "%s: has to be %s." .key .form) -}}
  {{- end -}}
  {{- /* A policy that does not know the port would hold everything up without a word. */ -}}
  {{- $port := .url | default "" | regexFind ":[0-9]+(/|$)" | regexFind "[0-9]+" -}}
  {{- if and $port $.Values.networkPolicy.enabled -}}
    {{- $section := index $.Values.networkPolicy .policy -}}
    {{- $known := false -}}
    {{- range index $section .ports }}{{ if eq (int .) (int $port) }}{{ $known = true }}{{ end }}{{ end -}}
    {{- if not $known -}}
      {{- fail (printf "networkPolicy.%s.%s: has no %s, the port of %s." .policy .ports $port .key) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}
