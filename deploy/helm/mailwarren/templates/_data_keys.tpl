{{/* The file of keys that secrets in the database are encrypted with. */}}

{{/* The Secret that has it; empty: none. Where the accounts are not made here (GitOps), neither is this: what is made
     anew with every rendering would make the secrets of before unreadable. */}}
{{- define "mailwarren.dataKeysSecret" -}}
{{- if .Values.dataKeys.existingSecret -}}
{{ .Values.dataKeys.existingSecret }}
{{- else if not .Values.accounts.existingSecret -}}
{{ include "mailwarren.fullname" . }}-data-keys
{{- end -}}
{{- end }}

{{/* The keys that secrets in the database are encrypted with, as a Secret has them. Those that are there stay, also ones
     that you changed: what is encrypted with a lost key is lost. */}}
{{- define "mailwarren.dataKeys" -}}
{{- $name := printf "%s-data-keys" (include "mailwarren.fullname" .) -}}
{{- $found := (lookup "v1" "Secret" .Release.Namespace $name).data | default dict -}}
{{- if hasKey $found "keys" -}}
{{ index $found "keys" }}
{{- else if .Values.accounts.seed -}}
{{ printf "%s/%s" .Values.accounts.seed $name | sha256sum | trunc 32 | b64enc | b64enc }}
{{- else -}}
{{ randAlphaNum 32 | b64enc | b64enc }}
{{- end -}}
{{- end }}

{{- define "mailwarren.dataKeysMount" -}}
{{- if include "mailwarren.dataKeysSecret" . -}}
- {name: data-keys, mountPath: /etc/mailwarren/data-keys, readOnly: true}
{{- end }}
{{- end }}

{{- define "mailwarren.dataKeysVolume" -}}
{{- with include "mailwarren.dataKeysSecret" . -}}
- name: data-keys
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}

{{/* What ingest and the webhooks have to be told alike. */}}
{{- define "mailwarren.webhookEnv" }}
{{- if include "mailwarren.dataKeysSecret" . }}
- name: MAILWARREN_DATA_KEYS
  value: /etc/mailwarren/data-keys/keys
{{- end }}
- name: MAILWARREN_PRIVATE_WEBHOOKS
  value: {{ .Values.webhooks.private | quote }}
{{- end }}
