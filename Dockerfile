# One image for every service; the command says which. No system package is needed: ffmpeg and
# the packager come with the Python packages.
FROM node:22-slim AS players
WORKDIR /web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund

FROM python:3.12-slim
WORKDIR /nearcast
COPY requirements/runtime.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY . .
COPY --from=players /web/node_modules/hls.js/dist/hls.min.js web/vendor/hls.min.js
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && useradd --create-home nearcast && mkdir /data && chown nearcast /data
USER nearcast
STOPSIGNAL SIGTERM
CMD ["nearcast", "--help"]
