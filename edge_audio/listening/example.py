"""A file of settings in which everything stands, with its default, as a comment."""

EXAMPLE = """\
# Settings of a listening run: edge-audio listen --config FILE
# Lines without # in front are settings; those with # show what holds without them, or an example.
# In paths, ~ and variables ($HOME) may stand. docs/config.md says more.

# model = "tiny-int8"          # a shipped model (edge-audio models), or the folder of a bundle
# sounds = ""                  # a file that edge-audio learn wrote: labels of your own
# backend = "auto"             # auto, litert, executorch, onnx or native
# reconnect = true             # open microphones and streams again whenever they break
# latency_s = 0.32             # while nothing sounds, microphones wake the listener this often
# format = "live"              # of standard output: live, text, jsonl or none
# top = 3                      # also the highest scores of every step; by default none

[[source]]                     # one or more, at once
url = "mic"                    # mic, demo, auto, -, a file, rtsp:// or http:// ..., serial:PORT
# name = "kitchen"             # what records call it; by default made of the url
# device = "USB"               # which microphone: edge-audio devices
# channel = "mix"              # what to hear of several: mix, loudest, left, right or a number

[events]
# only = ["Dog", "Bark"]       # these labels alone: edge-audio inspect tiny-int8
# exclude = ["Music"]          # never these
# sensitivity = "normal"       # quiet, normal or eager: which thresholds of the model count
# threshold = 0.3              # score at which events start, of all labels that are watched
# thresholds = {Siren = 0.4}   # of one label each; switches on what is off by default
# smoothing_s = 0.16           # time constant; by default, as of the next three, the model's own
# attack_s = 0.0               # the same where scores rise
# min_on_s = 0.08              # how long a score must last until a start is reported
# min_off_s = 0.4              # shorter gaps do not end an event
# cooldown_s = 0.0             # after an event its label stays quiet this long
# max_s = 0.0                  # events end after this time at the latest; 0 = no limit
# related = "most-specific"    # while Bark sounds, Dog and Animal are not; or "first", "all"
# gate_dbfs = -60.0            # long silence below this is skipped; by default nothing is

# Destinations: take the # from a header in brackets to have one. docs/sinks.md

# [json]                       # a file of JSON lines
# path = "sounds.jsonl"
# top = 0                      # also this many of the highest scores of every step
# level_every_s = 10.0         # seconds between two records of level and load; 0 = none
# max_mb = 10.0                # then the file becomes path.1
# keep = 7                     # so many old files

# [history]                    # a file of SQLite that remembers events and loudness
# path = "sounds.db"
# level_every_s = 60.0         # seconds between two levels; 0 = none
# keep_days = 365.0            # what is older is deleted; 0 = only for want of room
# max_mb = 200.0               # then the oldest is deleted

# [mqtt]                       # pip install 'edge-audio[mqtt]'
# host = "localhost"           # or mqtt://HOST:PORT, mqtts://HOST
# port = 1883                  # with tls 8883
# topic = "edge-audio/{host}"  # each machine needs one of its own; {host}: its name
# client_id = ""               # by default made of topic and machine
# username = "edge-audio"
# password_file = "/etc/edge-audio/mqtt-password"
# password_env = "MQTT_PASSWORD"         # instead of the file
# tls = false
# ca_file = "ca.pem"           # certificates to trust in place of the system's
# discovery_prefix = "homeassistant"     # "" = Home Assistant is told nothing
# controls = true              # others may choose the sensitivity and pause, over the broker
# buffer = 1000                # events that wait while the broker is away
# keepalive_s = 30             # silence after which the connection counts as lost
# level_every_s = 10.0         # seconds between two levels; 0 = none

# [webhook]                    # pip install 'edge-audio[webhook]'
# url = "https://example.org/sounds"
# headers = {X-Room = "kitchen"}
# bearer_file = "/etc/edge-audio/webhook-token"
# bearer_env = "WEBHOOK_TOKEN"           # instead of the file
# ca_file = "ca.pem"           # certificates to trust in place of the system's
# timeout_s = 5.0              # for the connection, and for the answer
# retries = 5                  # attempts after the first
# backoff_s = 1.0              # before the second attempt; doubles up to a minute
# queue = 1000                 # events that wait
# dead_letter = "undelivered.jsonl"      # a file for what was given up

# [notify]                     # messages to people, by Apprise; pip install 'edge-audio[notify]'
# urls_file = "/etc/edge-audio/notify"   # lines like: phone = ntfy://TOPIC
# urls_env = "EDGE_AUDIO_NOTIFY"         # instead of the file
# urls = ["ntfy://localhost:8080/home"]  # addresses without a secret
# only = ["Dog", "Siren"]      # labels that are told; by default all that are watched
# exclude = ["Speech"]
# urgent = ["Smoke detector, smoke alarm"]         # also in quiet hours, and at once
# scores = {Dog = 0.8}         # which an event must reach to be told
# recipients = {phone = ["Siren"]}       # what a recipient is told; by default all
# quiet_hours = ["22:00-07:00", "sat-sun 07:00-09:00"]
# pause_s = 300.0              # between two messages on one label
# max_per_hour = 20            # on all labels
# clip_wait_s = 0.0            # how long a message waits for its clip; 0 = no clip goes out
# title = "{label}{more}"
# text = "{stream}, {time}, score {score}"
# retries = 5                  # attempts after the first
# backoff_s = 5.0              # before the second attempt; doubles up to a minute
# queue = 100                  # messages that wait, for each recipient

# [clips]                      # audio around events, as FLAC
# folder = "clips"
# record = false               # the switch: nobody is recorded by accident
# labels = ["Dog"]             # events that are recorded; by default all that are watched
# pre_s = 2.0                  # audio before the first start
# post_s = 2.0                 # audio after the last end
# max_s = 30.0                 # longest clip
# quota_mb = 500.0             # of all clips; the oldest make room
# keep_days = 0.0              # older clips are deleted; 0 = only for want of room

# [metrics]                    # for Prometheus; pip install 'edge-audio[metrics]'
# host = "127.0.0.1"           # an address of this machine; this one is heard by itself alone
# port = 9400

# [page]                       # a web page of this run; pip install 'edge-audio[page]'
# host = "127.0.0.1"           # an address of this machine; any other needs a password
# port = 8470
# password_file = "/etc/edge-audio/page-password"   # edge-audio password --out FILE
# password_env = "EDGE_AUDIO_PAGE_PASSWORD"         # instead of the file
# path = ""                    # such as "/sounds", below which a reverse proxy shows it
# hosts = ["sounds.example.org"]         # names by which browsers reach it through a proxy
# frames = ["http://homeassistant.local:8123"]      # pages that may show it in a frame
# others = ["http://attic.local:8470"]   # pages of other listeners, which this one links to
# cert_file = "page.pem"       # for TLS, with key_file
# key_file = "page.key"
# controls = true              # settings may be changed there
"""
