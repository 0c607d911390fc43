-- Runs in wrk. With NEARCAST_TARGETS, a file of lines "TARGET [RANGE]", the connections together ask
-- for one line after the other; with NEARCAST_ONCE=1 for each once, and then no more. Without it
-- wrk repeats its address. At the end one line of JSON says what came.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long tv_sec; long tv_usec; } nearcast_timeval;
  int gettimeofday(nearcast_timeval *now, void *zone);
]]

local list, once = os.getenv("NEARCAST_TARGETS"), os.getenv("NEARCAST_ONCE") == "1"
local threads = {}

local function now_us()
  local now = ffi.new("nearcast_timeval")
  ffi.C.gettimeofday(now, nil)
  return tonumber(now.tv_sec) * 1e6 + tonumber(now.tv_usec)
end

function setup(thread)
  table.insert(threads, thread)
end

if list then
  local requests, at, began_us = {}, 0, nil
  took_us = 0 -- of the whole list, when it was gone through once; global for thread:get

  function init()
    for line in io.lines(list) do
      local target, range = line:match("^(%S+)%s*(%S*)$")
      local fields = range ~= "" and { Range = "bytes=" .. range } or {}
      table.insert(requests, wrk.format("GET", target, fields))
    end
  end

  function request()
    at = at + 1
    if at > #requests then
      if once then
        if took_us == 0 then took_us = now_us() - began_us end
        wrk.thread:stop()
      end
      at = 1
    end
    if at == 2 and not began_us then began_us = now_us() end -- wrk tries the first before it begins
    return requests[at]
  end
end

function done(summary, latency)
  local took_us = list and threads[1]:get("took_us") or 0
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "bytes": %d, "duration_us": %d, "list_us": %d, "p50_us": %d, "p99_us": %d, '
      .. '"status_errors": %d, "socket_errors": %d}\n',
    summary.requests, summary.bytes, summary.duration, took_us,
    latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
