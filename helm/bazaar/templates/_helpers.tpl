{{/* Labels of one component. Context: list of the root and the component's name. */}}
{{- define "bazaar.selector" -}}
app.kubernetes.io/part-of: bazaar
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{- define "bazaar.labels" -}}
{{ include "bazaar.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end }}

{{/* Pod Security `restricted`, and a read-only root. */}}
{{- define "bazaar.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "bazaar.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* A Service and its headless twin, by which each pod has an address of its own.
     Context: root, name, map of port name to port. */}}
{{- define "bazaar.services" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- range $service := list $name (printf "%s-pods" $name) }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $service }}
  labels: {{- include "bazaar.labels" (list $root $name) | nindent 4 }}
spec:
  {{- if ne $service $name }}
  clusterIP: None
  publishNotReadyAddresses: true
  {{- end }}
  selector: {{- include "bazaar.selector" (list $root $name) | nindent 4 }}
  ports:
    {{- range $port, $number := index $ 2 }}
    - {name: {{ $port }}, port: {{ $number }}, targetPort: {{ $port }}}
    {{- end }}
{{- end }}
{{- end }}
