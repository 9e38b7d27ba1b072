{{/* Fleets of senders: what they consume, and whether that is right. */}}

{{/* The lanes and shards of the system; tests compare them with libs/contracts. */}}
{{- define "mailwarren.lanes" -}}
lanes: [high, normal, bulk]
{{- end }}
{{- define "mailwarren.shards" -}}
shards: [google, microsoft, yahoo, apple, h0, h1, h2, h3, h4, h5, h6, h7]
{{- end }}

{{/* Lays values over others, in place: unlike mergeOverwrite it takes a 0, false or empty value at its word.
     Args: base, over. */}}
{{- define "mailwarren.overlay" -}}
{{- $base := .base -}}
{{- range $key, $value := .over -}}
  {{- if and (kindIs "map" $value) (kindIs "map" (index $base $key)) -}}
    {{- include "mailwarren.overlay" (dict "base" (index $base $key) "over" $value) -}}
  {{- else -}}
    {{- $_ := set $base $key $value -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* The fleets with their defaults, their queues and the site of their mail (direct, smarthost). Returns YAML. */}}
{{- define "mailwarren.fleets" -}}
{{- $all := (include "mailwarren.shards" . | fromYaml).shards -}}
{{- $fleets := list -}}
{{- range .Values.senders -}}
  {{- $fleet := deepCopy $.Values.senderDefaults -}}
  {{- include "mailwarren.overlay" (dict "base" $fleet "over" .) -}}
  {{- $queues := list -}}
  {{- range $lane := $fleet.lanes -}}
    {{- range $shard := ($fleet.shards | default $all) -}}
      {{- $queues = append $queues (printf "%ssend.%s.%s" $.Values.rabbitmq.prefix $lane $shard) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $fleet "queues" $queues -}}
  {{- $relayed := or $fleet.smtp.url $fleet.smtp.existingSecret $.Values.smtp.url $.Values.smtp.existingSecret $.Values.sink.enabled -}}
  {{- $_ := set $fleet "direct" (not $relayed) -}}
  {{- $fleets = append $fleets $fleet -}}
{{- end -}}
{{- dict "fleets" $fleets | toYaml -}}
{{- end }}

{{/* -Q of a fleet. */}}
{{- define "mailwarren.queues" -}}
{{ join "," .queues }}
{{- end }}

{{/* Fails with a sentence for fleets that cannot be right. */}}
{{- define "mailwarren.checkFleets" -}}
{{- $fleets := (include "mailwarren.fleets" . | fromYaml).fleets -}}
{{- $lanes := (include "mailwarren.lanes" . | fromYaml).lanes -}}
{{- $shards := (include "mailwarren.shards" . | fromYaml).shards -}}
{{- $owner := dict -}}
{{- $names := dict -}}
{{- range $n, $fleet := $fleets -}}
  {{- $key := printf "senders[%d] (%s)" $n $fleet.name -}}
  {{- if hasKey $names $fleet.name -}}
    {{- fail (printf "%s: another fleet has this name." $key) -}}
  {{- end -}}
  {{- if has $fleet.name (list "ingest" "tracker" "sink" "setup" "rabbitmq" "postgres" "accounts" "owner" "rules" "keda" "test" "sender") -}}
    {{- fail (printf "%s: the name belongs to another part of the chart; take one such as sender-%s." $key $fleet.name) -}}
  {{- end -}}
  {{- $_ := set $names $fleet.name true -}}
  {{- range $fleet.queues -}}
    {{- if and (hasKey $owner .) (not $.Values.allowSharedQueues) -}}
      {{- fail (printf "%s: the queue %s is consumed by %s too; change their lanes or shards, or set allowSharedQueues." $key . (index $owner .)) -}}
    {{- end -}}
    {{- $_ := set $owner . $fleet.name -}}
  {{- end -}}
  {{- if and (or $fleet.egress.names $fleet.egress.requireChecks) (not $.Values.egress) -}}
    {{- fail (printf "%s: egress.names and egress.requireChecks are about the value egress, which is empty." $key) -}}
  {{- end -}}
  {{- $auto := $fleet.autoscaling -}}
  {{- if ne $auto.type "none" -}}
    {{- if not (kindIs "invalid" $fleet.replicas) -}}
      {{- fail (printf "%s: replicas and autoscaling.type=%s exclude each other; leave replicas out." $key $auto.type) -}}
    {{- end -}}
    {{- if gt (int $auto.min) (int $auto.max) -}}
      {{- fail (printf "%s: autoscaling.min (%d) is above autoscaling.max (%d)." $key (int $auto.min) (int $auto.max)) -}}
    {{- end -}}
    {{- if and (eq $auto.type "hpa") (lt (int $auto.min) 1) -}}
      {{- fail (printf "%s: autoscaling.min is 0, which needs autoscaling.type=keda." $key) -}}
    {{- end -}}
    {{- if and (eq $auto.type "hpa") (not $auto.cpu) (not $auto.parcels) -}}
      {{- fail (printf "%s: autoscaling.type=hpa needs autoscaling.cpu or autoscaling.parcels." $key) -}}
    {{- end -}}
    {{- include "mailwarren.checkProviders" (dict "root" $ "fleet" $fleet "key" $key) -}}
  {{- end -}}
  {{- if le (int $fleet.drainGrace) (int $fleet.dotTimeout) -}}
    {{- fail (printf "%s: drainGrace (%d) has to be above dotTimeout (%d)." $key (int $fleet.drainGrace) (int $fleet.dotTimeout)) -}}
  {{- end -}}
  {{- if le (int $fleet.terminationGracePeriodSeconds) (int $fleet.drainGrace) -}}
    {{- fail (printf "%s: terminationGracePeriodSeconds (%d) has to be above drainGrace (%d)." $key (int $fleet.terminationGracePeriodSeconds) (int $fleet.drainGrace)) -}}
  {{- end -}}
{{- end -}}
{{- if not .Values.allowUnservedQueues -}}
  {{- range $lane := $lanes -}}
    {{- range $shard := $shards -}}
      {{- $queue := printf "%ssend.%s.%s" $.Values.rabbitmq.prefix $lane $shard -}}
      {{- if not (hasKey $owner $queue) -}}
        {{- fail (printf "senders: no fleet consumes the queue %s; add the lane and shard to one, or set allowUnservedQueues." $queue) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* More pods than a provider grants connections would only defer mail. Args: root, fleet, key. */}}
{{- define "mailwarren.checkProviders" -}}
{{- $fleet := .fleet -}}
{{- if $fleet.direct -}}
  {{- range $site := list "google" "microsoft" "yahoo" "apple" -}}
    {{- if or (not $fleet.shards) (has $site $fleet.shards) -}}
      {{- $limit := index $.root.Values.providerConnections $site -}}
      {{- $addresses := int ($fleet.egress.addresses | default $.root.Values.providerConnections.egressAddresses) -}}
      {{- $most := div (mul (int $limit.allowed) $addresses) (int $limit.perPod) -}}
      {{- if gt (int $fleet.autoscaling.max) (int $most) -}}
        {{- fail (printf "%s: autoscaling.max is %d, but %s stands %d connections from each of %d addresses and a pod opens %d, so at most %d pods help: lower autoscaling.max or providerConnections.%s.perPod (with shaping), raise providerConnections.egressAddresses, or give the shard %s a fleet of its own." $.key (int $fleet.autoscaling.max) $site (int $limit.allowed) $addresses (int $limit.perPod) (int $most) $site $site) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}
