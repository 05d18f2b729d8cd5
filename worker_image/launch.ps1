# Starts an nbdist worker on this machine: the only thing that it needs is a Python 3.11 or later.
#
#   .\launch.ps1 [-With numpy,pandas] [-Python PATH] [-Invite ws…] [-- options of nbdist worker]
#
# The invite is better in $env:NBDIST_INVITE, or typed when it is asked for. worker.pyz is taken from beside this file, or
# fetched from the hub with the line that `%distribute invite` prints. What is there is used again.
param(
    [string[]] $With = @(),
    [string] $Python = $env:NBDIST_PYTHON,
    [string] $Invite = $env:NBDIST_INVITE,
    [Parameter(ValueFromRemainingArguments = $true)] [string[]] $Rest = @()
)
$ErrorActionPreference = 'Stop'

function Test-Python([string[]] $Command) {
    $first, $others = $Command
    try { & $first @others -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>$null; return $LASTEXITCODE -eq 0 }
    catch { return $false }
}

$candidates = if ($Python) { , @($Python) } else { @('py', '-3'), @('python3'), @('python') }
$found = $candidates | Where-Object { Test-Python $_ } | Select-Object -First 1
if (-not $found) { throw 'No Python 3.11 or later was found: install one from python.org, or name it with -Python PATH' }
$first, $others = $found
$interpreter = & $first @others -c 'import sys; print(sys.executable)'

$worker = Join-Path $PSScriptRoot 'worker.pyz'
if (-not (Test-Path $worker)) { throw "Put worker.pyz beside this file: the line that '%distribute invite' prints fetches it" }

if ($With) {
    $names = ($With | Sort-Object -Unique) -join ','
    $tag = & $interpreter -c 'import hashlib, sys; print(hashlib.sha256((sys.prefix + sys.argv[1]).encode()).hexdigest()[:12])' $names
    $environment = Join-Path $env:LOCALAPPDATA "nbdist\env-$tag"
    $inside = Join-Path $environment 'Scripts\python.exe'
    if (-not (Test-Path (Join-Path $environment 'ready'))) {
        & $interpreter -m venv --clear $environment
        & $inside -m pip install --quiet --disable-pip-version-check @With
        if ($LASTEXITCODE) { throw "These packages could not be installed: $names" }
        New-Item -ItemType File (Join-Path $environment 'ready') | Out-Null
    }
    $interpreter = $inside
}

if (-not $Invite) { $Invite = Read-Host 'Invite (the line that the hub printed)' }
if ($Invite -notmatch '^wss?://') { throw 'This is no invite: it begins with ws:// or wss://' }
$env:NBDIST_INVITE = $Invite
& $interpreter $worker @Rest
exit $LASTEXITCODE
