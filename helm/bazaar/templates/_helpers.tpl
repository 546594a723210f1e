{{/* Labels of one component. Context: list of the root and the component's name. */}}
{{- define "bazaar.selector" -}}
app.kubernetes.io/part-of: bazaar
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{- define "bazaar.labels" -}}
{{ include "bazaar.selector" . }}
app.kubernetes.io/component: {{ index . 1 | trimSuffix "-b" | trimSuffix "-second" }}
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

{{/* The init container that brings the database up to date; whoever comes first does it. */}}
{{- define "bazaar.migrate" -}}
- name: migrate
  image: {{ .Values.images.bazaar }}
  args: [migrate]
  envFrom:
    - secretRef: {name: bazaar-migrate}
    - secretRef: {name: bazaar-faults-migrate}
  resources:
    requests: {cpu: 20m, memory: 96Mi}
    limits: {memory: 256Mi}
  {{- include "bazaar.containerSecurity" . | nindent 2 }}
{{- end }}

{{/* A Service and its headless twin, by which each pod has an address of its own.
     Context: root, name, map of port name to port, and whether a client stays with one pod. */}}
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
  {{- else if index $ 3 }}
  sessionAffinity: ClientIP
  {{- end }}
  selector: {{- include "bazaar.selector" (list $root $name) | nindent 4 }}
  ports:
    {{- range $port, $number := index $ 2 }}
    - {name: {{ $port }}, port: {{ $number }}, targetPort: {{ $port }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* Who may open connections to a component. Context: root, name, list of components; "suite" is a pod of a run
     of Proctor, in whatever namespace, and "everyone" is everyone. */}}
{{- define "bazaar.networkPolicy" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $clients := index . 2 }}
{{- if $root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $name }}
  labels: {{- include "bazaar.labels" (list $root $name) | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "bazaar.selector" (list $root $name) | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    {{- if has "everyone" $clients }}
    - ports:
        {{- range $port := index $ 3 }}
        - {port: {{ $port }}}
        {{- end }}
    {{- else }}
    - from:
        {{- with without $clients "suite" }}
        - podSelector:
            matchExpressions:
              - {key: app.kubernetes.io/part-of, operator: In, values: [bazaar]}
              - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " . }}]}
        {{- end }}
        {{- if has "suite" $clients }}
        - namespaceSelector: {}
          podSelector:
            matchExpressions: [{key: proctor.dev/run, operator: Exists}]
        {{- end }}
      ports:
        {{- range $port := index $ 3 }}
        - {port: {{ $port }}}
        {{- end }}
    {{- end }}
{{- end }}
{{- end }}
