{{/* The roles: one Deployment each. All but `cassette` run the image `bazaar` with the role's name as the argument.
       secret    it has a secret of its own, bazaar-ROLE
       database  it uses the database, so its pods bring the schema up to date first
       clients   who may reach it besides Prometheus and suites
     With `secondArm` there are a second gateway, router and orchestrator, which share everything else. */}}
{{- define "bazaar.roles" -}}
{{- $at := printf "http://%%s.%s:8080" .Release.Namespace }}
{{- $roles := fromYaml (include "bazaar.roleTable" .) }}
{{- if .Values.secondArm.enabled }}
{{- range $name := list "gateway" "router" "orchestrator" }}
{{- $twin := deepCopy (index $roles $name) }}
{{- $_ := set $twin "arm" "b" }}
{{- $_ := set $twin "image" ($.Values.secondArm.image | default $twin.image) }}
{{- if eq $name "orchestrator" }}
{{- $_ := set $twin.env "BAZAAR_ROUTER_URL" (printf $at "router-b") }}
{{- end }}
{{- $_ := set $roles (printf "%s-b" $name) $twin }}
{{- end }}
{{- end }}
{{- toYaml $roles }}
{{- end }}

{{- define "bazaar.roleTable" -}}
{{- $at := printf "http://%%s.%s:8080" .Release.Namespace }}
gateway:
  image: {{ .Values.images.bazaar }}
  replicas: {{ .Values.replicas.gateway }}
  cpu: 40m
  secret: true
  database: true
  sticky: true
  clients: [everyone]
  env:
    BAZAAR_POOL_SIZE: {{ .Values.db.poolSize | quote }}
    BAZAAR_TOOLS_URL: {{ printf $at "tools" }}
    BAZAAR_ORCHESTRATOR_URL: {{ printf $at "orchestrator" }}
router:
  image: {{ .Values.images.bazaar }}
  replicas: 1
  cpu: 20m
  clients: [orchestrator]
  env: {}
orchestrator:
  image: {{ .Values.images.bazaar }}
  replicas: {{ .Values.replicas.orchestrator }}
  cpu: 50m
  secret: true
  database: true
  clients: [gateway]
  env:
    BAZAAR_POOL_SIZE: {{ .Values.db.poolSize | quote }}
    BAZAAR_MODEL_URL: {{ printf $at "cassette" }}
    BAZAAR_ROUTER_URL: {{ printf $at "router" }}
    BAZAAR_TOOLS_URL: {{ printf $at "tools" }}
tools:
  image: {{ .Values.images.bazaar }}
  replicas: 1
  cpu: 40m
  secret: true
  database: true
  clients: [gateway, orchestrator]
  env:
    BAZAAR_POOL_SIZE: {{ .Values.db.poolSize | quote }}
dlq:
  image: {{ .Values.images.bazaar }}
  replicas: 1
  cpu: 20m
  secret: true
  database: true
  clients: []
  env:
    BAZAAR_POOL_SIZE: {{ .Values.db.poolSize | quote }}
cassette:
  image: {{ .Values.images.cassette }}
  replicas: 1
  cpu: 20m
  alone: true # one store, one writer
  secret: true
  clients: [orchestrator]
  env: {CASSETTE_MOCK_URL: {{ printf $at "model" }}, CASSETTE_LIVE_URL: {{ printf $at "model-second" }}}
model:
  image: {{ .Values.images.bazaar }}
  replicas: 1
  cpu: 30m
  alone: true # one ledger, one writer
  clients: [cassette]
  env: {BAZAAR_LEDGER_PATH: /data/calls.sqlite, BAZAAR_UPSTREAM: first}
model-second:
  image: {{ .Values.images.bazaar }}
  replicas: 1
  cpu: 10m
  alone: true
  clients: [cassette]
  env: {BAZAAR_LEDGER_PATH: /data/calls.sqlite, BAZAAR_UPSTREAM: second}
logsink:
  image: {{ .Values.images.bazaar }}
  replicas: 1
  cpu: 20m
  alone: true # one memory
  clients: [gateway, router, orchestrator, tools, dlq, model]
  env: {}
{{- end }}
