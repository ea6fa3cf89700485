{{- define "pulsestream.name" -}}
{{- if contains "pulsestream" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-pulsestream" (.Release.Name | trunc 28 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "pulsestream.secret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "pulsestream.name" .)) }}
{{- end }}

{{- /* Labels by which pods are chosen: (list $ "component"). */ -}}
{{- define "pulsestream.selector" -}}
app.kubernetes.io/name: pulsestream
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "pulsestream.labels" -}}
{{ include "pulsestream.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{- /* A variable from the secret: (list $ "NAME" "key"). */ -}}
{{- define "pulsestream.password" -}}
- name: {{ index . 1 }}
  valueFrom: { secretKeyRef: { name: {{ include "pulsestream.secret" (index . 0) }}, key: {{ index . 2 }} } }
{{- end }}

{{- /* Spread over machines: (list $ "component"). */ -}}
{{- define "pulsestream.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "pulsestream.selector" . | nindent 8 }}
{{- end }}
