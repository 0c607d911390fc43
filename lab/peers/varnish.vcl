# Varnish doing an appliance's work: everything is in memory after the first request. Varnish signs
# nothing without a module, so it compares the token of the path with the one it knows.
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@origin@";
    .max_connections = 256;
}

sub vcl_recv {
    if (req.url !~ "^/@token@/titles/") {
        return (synth(403));
    }
    set req.url = regsub(req.url, "^/[^/]+", "");
    set req.http.X-Session = regsub(req.url, "^.*[?&]session=([^&]*).*$", "\1");
    set req.url = regsub(req.url, "\?.*$", "");
    return (hash);
}

sub vcl_backend_response {
    set beresp.ttl = 1d;
    set beresp.do_gzip = false;
    # Waiters are served while the object comes.
    set beresp.do_stream = true;
}

sub vcl_deliver {
    set resp.http.Cache-Control = "private, max-age=86400, immutable";
    set resp.http.Cache-Status = "varnish; hit";
    set resp.http.Access-Control-Allow-Origin = "*";
    set resp.http.Access-Control-Expose-Headers = "Content-Length, Content-Range, ETag, Cache-Status, CMSD-Static, CMSD-Dynamic, Retry-After";
    set resp.http.CMSD-Static = "ot=v,d=4000,br=4000,st=v";
    set resp.http.Timing-Allow-Origin = "*";
}
