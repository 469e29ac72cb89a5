"""How gunicorn serves sample-service; read by `python -m gunicorn` in this folder."""

import os

import kit.listening
import kit.logs
from sample_service.settings import SERVICE, Settings

_settings = Settings.from_environment()

wsgi_app = "sample_service.main:create_app()"
bind = kit.listening.bind_addresses(_settings.port)
proc_name = SERVICE

# One process: the metrics live in it, and Kubernetes scales by pods. Threads, because requests wait for the network.
workers = 1
worker_class = "gthread"
threads = 16

# After SIGTERM requests under way may finish; less than the 30 s a pod is given, with the drain before it.
graceful_timeout = 20
# longer than clients keep idle connections, so that the client is the one who closes
keepalive = 15

# The root filesystem is read-only: the worker's heartbeat file goes to memory, and there is no control socket to write.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
control_socket_disable = True

logconfig_dict = kit.logs.log_config(SERVICE, _settings.log_level)
