# SPDX-License-Identifier: GPL-2.0-only
"""nginx: a master and two workers. Items are files, put by WebDAV; requests are counted in memory that they share."""

import os

from client import Web
from kit import check
from program import PORT, Program, find

CONFIGURATION = f'''
daemon off;
user root;
worker_processes 2;
error_log error.log;
pid nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    client_body_buffer_size 8k;
    keepalive_requests 10000000;
    keepalive_timeout 600;
    gzip on;
    server {{
        listen {PORT};
        location /items/ {{ root .; dav_methods PUT; }}
        location /status {{ stub_status; }}
    }}
}}
'''


class Nginx(Program):
    VERSION = 'nginx', 'nginx', '-v'
    ITEMS = 150
    SESSION = Web

    def prepare(self):
        self.sessions = []
        os.mkdir(self.path('items'))
        with open(self.path('nginx.conf'), 'w') as file:
            file.write(CONFIGURATION)

    def command(self):
        return [find('nginx'), '-p', self.dir, '-c', self.path('nginx.conf')]

    def session(self, address):
        session = super().session(address)
        self.sessions.append(session)
        return session

    def inspect(self, session):
        """It has counted all that it answered; of those whose connection ended it may have counted any."""
        counted = int(session.ask('GET', '/status').splitlines()[2].split()[2])
        answered, asked = (sum(getattr(one, name) for one in self.sessions) for name in ('answered', 'asked'))
        check(answered <= counted <= asked, f'it has counted {counted} requests, not {answered} to {asked}')
