-- What wrk asks: requests made of a file of paths and a file of bodies, each in turn; what it found, as a line of JSON.
--
--   wrk ... -s load.lua URL -- METHOD PATHS BODIES CONTENT-TYPE TOKEN KIND
--
-- PATHS has one path a line. BODIES has bodies with an empty line between them, or is "". KIND is "same", or "numbered":
-- each body, an object, gets a field of its own, or "keyed": each request gets an Idempotency-Key besides.

local requests, kind, run, count = {}, "same", "", 0

function setup(thread)
  count = count + 1
  thread:set("number", count)
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function init(args)
  local method, paths, bodies, content_type, token = args[1], {}, {}, args[4], args[5]
  kind = args[6]
  for path in read(args[2]):gmatch("[^\n]+") do paths[#paths + 1] = path end
  if args[3] ~= "" then
    for body in (read(args[3]) .. "\n\n"):gmatch("(.-)\n\n") do bodies[#bodies + 1] = body .. "\n" end
  end
  local headers = {}
  if content_type ~= "" then headers["Content-Type"] = content_type end
  if token ~= "" then headers["Authorization"] = "Bearer " .. token end
  run = string.format("%d-%d", os.time(), number)
  for i = 1, math.max(#paths, #bodies) do
    local path, body = paths[(i - 1) % #paths + 1], bodies[1] and bodies[(i - 1) % #bodies + 1]
    if kind == "same" then
      requests[i] = wrk.format(method, path, headers, body)
    else
      requests[i] = { method, path, headers, body:sub(1, -3) }
    end
  end
  count = number * 7919
end

function request()
  count = count + 1
  local made = requests[count % #requests + 1]
  if kind == "same" then return made end
  local name = run .. "-" .. count
  if kind == "keyed" then made[3]["Idempotency-Key"] = name end
  return wrk.format(made[1], made[2], made[3], made[4] .. ',"number":"' .. name .. '"}')
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "max": %.3f, "refused": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
