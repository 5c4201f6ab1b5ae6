<?php

// MikoPBX's models, as far as the module knows them: the PBX's real tables in its real database.

declare(strict_types=1);

namespace MikoPBX\Common\Models {
    use MikoPBX\Core\System\Settings;
    use PDO;

    class Users
    {
    }

    class Extensions
    {
    }

    class Sip
    {
    }

    class ExternalPhones
    {
    }

    class ExtensionForwardingRights
    {
    }

    abstract class Row
    {
        protected static function ask(string $sql, array $parameters = []): array
        {
            $database = new PDO('sqlite:' . Settings::text('database', 'dbfile'));
            $database->exec('PRAGMA busy_timeout = 5000');
            $statement = $database->prepare($sql);
            $statement->execute($parameters);
            return $statement->fetchAll(PDO::FETCH_ASSOC);
        }
    }

    class PbxSettings extends Row
    {
        public static function getValueByKey(string $key): string
        {
            $rows = self::ask('SELECT value FROM m_PbxSettings WHERE key = ?', [$key]);
            return (string)($rows[0]['value'] ?? '');
        }

        public static function setValue(string $key, string $value): void
        {
            self::ask('INSERT OR REPLACE INTO m_PbxSettings (key, value) VALUES (?, ?)', [$key, $value]);
        }
    }

    class PbxExtensionModules extends Row
    {
        public static function findFirstByUniqid(string $id): ?array
        {
            return self::ask('SELECT * FROM m_PbxExtensionModules WHERE uniqid = ?', [$id])[0] ?? null;
        }

        public static function insert(array $row): void
        {
            $columns = implode(', ', array_keys($row));
            $marks = implode(', ', array_fill(0, count($row), '?'));
            self::ask("INSERT INTO m_PbxExtensionModules ($columns) VALUES ($marks)", array_values($row));
        }

        public static function setDisabled(string $id, string $disabled): void
        {
            self::ask('UPDATE m_PbxExtensionModules SET disabled = ? WHERE uniqid = ?', [$disabled, $id]);
        }

        public static function delete(string $id): void
        {
            self::ask('DELETE FROM m_PbxExtensionModules WHERE uniqid = ?', [$id]);
        }
    }
}
