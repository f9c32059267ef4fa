# fish completion for pki

# The command is the first word, or left out. All words before the cursor's one are looked at.
function __pki_has_no_words
    test (count (commandline -opc)) -eq 1
end

function __pki_command_is
    set -l words (commandline -opc)
    set -l command issue
    if set -q words[2]; and not string match -q -- '-*' $words[2]
        set command $words[2]
    end
    contains -- $command $argv
end

# How many words behind the command are no options and no values of one.
function __pki_operands_are
    set -l words (commandline -opc)
    set -l switches --json --quiet --verbose --require-client-cert --all --direct --no-plaintext-probe
    set -l count 0
    set -l is_value 0
    for word in $words[3..-1]
        if test $is_value = 1
            set is_value 0
        else if not string match -q -- '-*' $word
            set count (math $count + 1)
        else if not string match -q -- '*=*' $word; and not string match -qr -- "^-?$word\$" $switches
            set is_value 1
        end
    end
    test $count = $argv[1]
end

# The value that is being typed, with or without its option before it.
function __pki_value
    commandline -ct | string replace -r -- '^--?[a-z-]+=' ''
end

# The function of fish's own takes the option in --out=DIR for part of the path.
function __pki_directories
    __fish_complete_directories (__pki_value)
end

# USER, USER:GROUP or :GROUP.
function __pki_owners
    set -l value (__pki_value)
    if string match -q -- '*:*' $value
        string replace -r -- '^' (string replace -r -- ':.*' ':' $value) (__fish_complete_groups)
    else
        __fish_complete_users
    end
end

# The directories that hold a certificate, where --out says.
function __pki_names
    set -l words (commandline -opc)
    set -l out .
    for i in (seq 2 (count $words))
        if string match -qr -- '^--?out$' $words[$i]; and set -q words[(math $i + 1)]
            set out $words[(math $i + 1)]
        else if string match -qr -- '^--?out=' $words[$i]
            set out (string replace -r -- '^--?out=' '' $words[$i])
        end
    end
    for path in $out/*/cert.pem
        string split -- / $path | tail -n 2 | head -n 1
    end
end

complete -c pki -f
complete -c pki -n __pki_has_no_words -a issue -d 'Make a key and a certificate'
complete -c pki -n __pki_has_no_words -a list -d 'List all certificates'
complete -c pki -n __pki_has_no_words -a renew -d 'Replace certificates that end soon, in place'
complete -c pki -n __pki_has_no_words -a check -d 'See whether traffic is encrypted and verified'
complete -c pki -n __pki_has_no_words -a config -d 'Print configuration for a server or a client'
complete -c pki -n __pki_has_no_words -a export -d 'Make other forms of a key and a certificate'
complete -c pki -n __pki_has_no_words -a revoke -d 'Take a certificate back'
complete -c pki -n __pki_has_no_words -a rotate -d 'Replace the root without an outage'
complete -c pki -n __pki_has_no_words -a crl -d 'Make the revocation list anew'

complete -c pki -n '__pki_command_is issue' -l domains -x -d 'DNS names for the certificate'
complete -c pki -n '__pki_command_is issue' -l ip-addresses -x -d 'IP addresses for the certificate'
complete -c pki -n '__pki_command_is issue' -l user -x \
    -d 'A client certificate for each of these database users'
complete -c pki -n '__pki_command_is issue' -l hosts -r -F \
    -d 'A certificate for each line of this file'
complete -c pki -n '__pki_command_is issue' -l users -r -F \
    -d 'A client certificate for each line of this file'
complete -c pki -n '__pki_command_is issue' -l jobs -x -d 'How many work at once'
complete -c pki -n '__pki_command_is issue' -l profile -d 'What the certificate is for' \
    -x -a 'server client peer'
complete -c pki -n '__pki_command_is issue rotate' -l ca-alg -d 'Algorithm of a new root' \
    -x -a 'ecdsa rsa p256 p384 rsa2048 rsa3072 rsa4096'
complete -c pki -n '__pki_command_is issue' -l key-type -d 'Type of the leaf\'s key' \
    -x -a 'p256 p384 rsa2048 rsa3072 rsa4096 ed25519'

complete -c pki -n '__pki_command_is list' -l expiring -x -d 'Only what ends within so many days'
complete -c pki -n '__pki_command_is list' -l kind -d 'Only certificates of this kind' \
    -x -a 'server client peer'
complete -c pki -n '__pki_command_is list' -l sort -d 'The order' -x -a 'name expiry'
complete -c pki -n '__pki_command_is list' -l all -d 'Also what is superseded or expired'
complete -c pki -n '__pki_command_is list' -l prometheus -d 'Print metrics'

complete -c pki -n '__pki_command_is renew' -a '(__pki_names)' -d 'Directory with a certificate'
complete -c pki -n '__pki_command_is renew' -l all -d 'Every certificate of the root'
complete -c pki -n '__pki_command_is renew' -l before -x -d 'Renew what ends within these days'
complete -c pki -n '__pki_command_is renew' -l reuse-key -d 'Keep the keys'
complete -c pki -n '__pki_command_is renew' -l exec -x -d 'Run this if something was renewed'
complete -c pki -n '__pki_command_is renew' -l confirm -d 'See that this server serves it' \
    -x -a '(__fish_print_hostnames)'
complete -c pki -n '__pki_command_is renew' -l timeout -x -d 'Seconds to wait for that'

complete -c pki -n '__pki_command_is check' -a '(__fish_print_hostnames)' -d Host
complete -c pki -n '__pki_command_is check' -l name -x -d 'The name that the certificate must have'
complete -c pki -n '__pki_command_is check' -F
complete -c pki -n '__pki_command_is check' -l cert -r -F -d 'A client certificate to show'
complete -c pki -n '__pki_command_is check' -l key -r -F -d 'Its key'
complete -c pki -n '__pki_command_is check' -l as -x -a '(__fish_complete_users)' \
    -d 'Who must be able to read the files'
complete -c pki -n '__pki_command_is check' -l direct -d 'TLS from the first byte'
complete -c pki -n '__pki_command_is check' -l no-plaintext-probe \
    -d 'Leave out the connection without TLS'
complete -c pki -n '__pki_command_is check' -l warn-days -x -d 'Days left that are too few'
complete -c pki -n '__pki_command_is check' -l timeout -x -d 'Seconds that each step may take'

complete -c pki -n '__pki_command_is config; and __pki_operands_are 0' -d Kind \
    -a 'pgbouncer postgres psql libpq-env jdbc rails node go'
complete -c pki -n '__pki_command_is config; and __pki_operands_are 1' -a '(__pki_names)' \
    -d 'Directory with a certificate'
complete -c pki -n '__pki_command_is config' -l server-ca -r -F \
    -d 'Also verify the database, with the roots in this file'
complete -c pki -n '__pki_command_is config' -l require-client-cert \
    -d 'Let in only users with a certificate of this root'
complete -c pki -n '__pki_command_is config' -l user -x -d 'The database user'
complete -c pki -n '__pki_command_is config' -l dbname -x -d 'The database'
complete -c pki -n '__pki_command_is config' -l port -x -d 'The server\'s port'

complete -c pki -n '__pki_command_is export; and __pki_operands_are 0' -a '(__pki_names)' \
    -d 'Directory with a certificate'
complete -c pki -n '__pki_command_is export' -l format -d 'What to make' \
    -x -a 'pk8 p12 der fullchain libpq'
complete -c pki -n '__pki_command_is renew export' -l password-file -r -F \
    -d 'The file with the password of a p12'
complete -c pki -n '__pki_command_is renew export' -l password-fd -x -d 'The descriptor to read it from'
complete -c pki -n '__pki_command_is export' -l to -d 'Where the files are made' \
    -x -a '(__pki_directories)'

complete -c pki -n '__pki_command_is rotate; and __pki_operands_are 0' -d Step \
    -a 'begin status finish'
complete -c pki -n '__pki_command_is rotate' -l no-cross -d 'Without a cross-certificate'

complete -c pki -n '__pki_command_is revoke; and __pki_operands_are 0' -a '(__pki_names)' \
    -d 'Directory with a certificate'
complete -c pki -n '__pki_command_is revoke' -l reason -d 'Why' \
    -x -a 'unspecified keyCompromise CACompromise affiliationChanged superseded cessationOfOperation'
complete -c pki -n '__pki_command_is revoke' -l all -d 'Also all others of the same subject'

complete -c pki -n '__pki_command_is issue crl' -l days -x \
    -d 'Lifetime of the certificate or the list in days'
complete -c pki -n '__pki_command_is issue renew revoke rotate crl' -l ca-key -r -F \
    -d 'The root\'s private key'
complete -c pki -n '__pki_command_is issue export' -l owner -d 'Who the files are for' \
    -x -a '(__pki_owners)'
complete -c pki -n '__pki_command_is issue list renew revoke rotate crl check config export' -l ca-cert -r -F \
    -d 'The root\'s certificate'
complete -c pki -n '__pki_command_is issue list renew revoke rotate check config export' -l out \
    -d 'Where the certificate\'s directory is' -x -a '(__pki_directories)'
complete -c pki -n '__pki_command_is issue list renew revoke rotate crl check config export' -l json -d 'Print a JSON document'
complete -c pki -n '__pki_command_is issue list renew revoke rotate crl check config export' -l quiet -d 'Print errors only'
complete -c pki -n '__pki_command_is issue list renew revoke rotate crl check config export' -l verbose -d 'Print what is done'

complete -c pki -l help -d 'Print a summary and exit'
complete -c pki -l version -d 'Print the version and exit'
