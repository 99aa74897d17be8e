"""The scripts that Redis itself runs, so that no other process can interfere.

All times are those of the server. What a process has used or reserved of a slice of a window has a
field of its own, which each exchange sets anew: a script that runs twice, after a lost answer,
reserves nothing twice, and what a process did not use goes back.
"""

from __future__ import annotations

# KEYS: the window of one limit. ARGV: process, period, limit, how much more is wanted, and pairs of
# age and amount: what the process has used. Returns how much it may use besides.
LEASE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local process, width = ARGV[1], ARGV[2] / 10
local current = math.floor(now / width)
local first = current - 10
local own, total = {}, 0
for at = 5, #ARGV, 2 do
    local slice = math.min(current, math.floor((now - ARGV[at]) / width))
    own[slice] = (own[slice] or 0) + ARGV[at + 1]
end
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do
    local slice, owner = string.match(fields[at], '^(%d+) (.*)$')
    if tonumber(slice) < first or owner == process then
        redis.call('HDEL', KEYS[1], fields[at])
    else
        total = total + fields[at + 1]
    end
end
for slice, amount in pairs(own) do
    if slice >= first then total = total + amount end
end
local granted = math.max(0, math.min(tonumber(ARGV[4]), ARGV[3] - total))
own[current] = (own[current] or 0) + granted
for slice, amount in pairs(own) do
    if slice >= first and amount > 0 then
        redis.call('HSET', KEYS[1], string.format('%d %s', slice, process), tostring(amount))
    end
end
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] * 2000))
return tostring(granted)
"""

# KEYS: the open breakers. ARGV: process, the number of those that opened here, for each its name,
# the seconds until it is tried and the reason, and then the names of those that closed here.
# Returns the breakers of others: name, seconds, reason.
BREAKERS = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local process, opened = ARGV[1], tonumber(ARGV[2])
local at = 3
for _ = 1, opened do
    local value = cjson.encode({process, now + ARGV[at + 1], ARGV[at + 2]})
    redis.call('HSET', KEYS[1], ARGV[at], value)
    at = at + 3
end
for closed = at, #ARGV do
    redis.call('HDEL', KEYS[1], ARGV[closed])
end
local news = {}
local fields = redis.call('HGETALL', KEYS[1])
for index = 1, #fields, 2 do
    local value = cjson.decode(fields[index + 1])
    if value[2] < now - 120 then
        redis.call('HDEL', KEYS[1], fields[index])
    elseif value[1] ~= process then
        table.insert(news, fields[index])
        table.insert(news, tostring(value[2] - now))
        table.insert(news, value[3])
    end
end
redis.call('PEXPIRE', KEYS[1], 600000)
return news
"""
