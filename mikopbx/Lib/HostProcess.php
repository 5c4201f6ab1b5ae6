<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\Lib;

use MikoPBX\Core\System\SystemMessages;

/**
 * One running process of the host program. What it writes to stderr goes into the PBX's log.
 */
final class HostProcess
{
    /** Seconds a process has to end in order before it is killed. */
    private const END_SECONDS = 8;

    /** What the program's lines begin with, and the PBX's levels. */
    private const LEVELS = ['error' => LOG_ERR, 'warning' => LOG_WARNING, 'info' => LOG_NOTICE];

    private string $output = '';
    private string $unfinishedLine = '';

    /**
     * @param resource                  $process
     * @param array<int, resource|null> $pipes
     */
    private function __construct(private $process, private array $pipes)
    {
        stream_set_blocking($this->pipes[0], false);
        stream_set_blocking($this->pipes[1], false);
        stream_set_blocking($this->pipes[2], false);
    }

    /**
     * Starts a program without a shell; null when it cannot be started.
     *
     * @param list<string> $command
     */
    public static function start(array $command): ?self
    {
        if (!is_executable($command[0])) {
            return null;
        }
        $process = proc_open($command, [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
        return is_resource($process) ? new self($process, $pipes) : null;
    }

    public function __destruct()
    {
        $this->stop();
    }

    /** Writes `input`, waits for the end, at most `seconds`, and answers what the program wrote. */
    public function finish(string $input, float $seconds): string
    {
        $deadline = microtime(true) + $seconds;
        while (!feof($this->pipes[1]) && microtime(true) < $deadline) {
            $input = $this->write($input);
            $this->read(0.2);
        }
        $this->stop();
        return $this->output;
    }

    /** Takes what has come meanwhile, waiting for it at most `seconds`. */
    public function read(float $seconds): void
    {
        $readable = array_filter([$this->pipes[1], $this->pipes[2]], static fn($pipe) => is_resource($pipe) && !feof($pipe));
        $writable = $except = null;
        if ($readable === [] || !@stream_select($readable, $writable, $except, 0, (int)($seconds * 1e6))) {
            return;
        }
        $this->output .= stream_get_contents($this->pipes[1]);
        $this->log(stream_get_contents($this->pipes[2]));
    }

    public function isRunning(): bool
    {
        return is_resource($this->process) && proc_get_status($this->process)['running'];
    }

    public function pid(): int
    {
        return is_resource($this->process) ? proc_get_status($this->process)['pid'] : 0;
    }

    /** Ends the process: by the end of its input, then SIGTERM, then SIGKILL. */
    public function stop(): void
    {
        if (!is_resource($this->process)) {
            return;
        }
        $this->close(0);
        if (!$this->endsWithin(self::END_SECONDS / 2)) {
            proc_terminate($this->process, SIGTERM);
            if (!$this->endsWithin(self::END_SECONDS / 2)) {
                proc_terminate($this->process, SIGKILL);
            }
        }
        $this->read(0);
        $this->log("\n");
        $this->close(1);
        $this->close(2);
        proc_close($this->process);
    }

    /** Writes what the pipe takes, and closes it after the last byte; answers what is left. */
    private function write(string $input): string
    {
        if (!is_resource($this->pipes[0])) {
            return '';
        }
        $written = $input === '' ? 0 : @fwrite($this->pipes[0], $input);
        $left = $written === false ? '' : substr($input, $written);
        if ($left === '') {
            $this->close(0);
        }
        return $left;
    }

    private function close(int $number): void
    {
        if (is_resource($this->pipes[$number])) {
            fclose($this->pipes[$number]);
        }
    }

    private function endsWithin(float $seconds): bool
    {
        $deadline = microtime(true) + $seconds;
        while ($this->isRunning()) {
            if (microtime(true) > $deadline) {
                return false;
            }
            $this->read(0.05);
            usleep(20000);
        }
        return true;
    }

    private function log(string $text): void
    {
        $lines = explode("\n", $this->unfinishedLine . $text);
        $this->unfinishedLine = array_pop($lines);
        foreach (array_filter($lines, static fn($line) => trim($line) !== '') as $line) {
            [$level] = explode(':', $line, 2);
            SystemMessages::sysLogMsg('ModuleLdapSync', $line, self::LEVELS[$level] ?? LOG_DEBUG);
        }
    }
}
