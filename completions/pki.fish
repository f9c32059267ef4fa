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

# The function of fish's own takes the option in --out=DIR for part of the path.
function __pki_directories
    set -l word (commandline -ct)
    __fish_complete_directories (string replace -r -- '^--out=' '' "$word")
end

complete -c pki -f
complete -c pki -n __pki_has_no_words -a issue -d 'Make a key and a certificate'

complete -c pki -n '__pki_command_is issue' -l domains -x -d 'DNS names for the certificate'
complete -c pki -n '__pki_command_is issue' -l ip-addresses -x -d 'IP addresses for the certificate'
complete -c pki -n '__pki_command_is issue' -l ca-cert -r -F -d 'The root\'s certificate'
complete -c pki -n '__pki_command_is issue' -l ca-key -r -F -d 'The root\'s private key'
complete -c pki -n '__pki_command_is issue' -l ca-alg -d 'Algorithm of a new root' \
    -x -a 'ecdsa rsa p256 p384 rsa2048 rsa3072 rsa4096'
complete -c pki -n '__pki_command_is issue' -l key-type -d 'Type of the host\'s key' \
    -x -a 'p256 p384 rsa2048 rsa3072 rsa4096 ed25519'
complete -c pki -n '__pki_command_is issue' -l days -x -d 'Lifetime of the certificate in days'
complete -c pki -n '__pki_command_is issue' -l out -d 'Where the certificate\'s directory is made' \
    -x -a '(__pki_directories)'
complete -c pki -n '__pki_command_is issue' -l json -d 'Print what was made as a JSON document'
complete -c pki -n '__pki_command_is issue' -l quiet -d 'Print errors only'
complete -c pki -n '__pki_command_is issue' -l verbose -d 'Print what is done'

complete -c pki -l help -d 'Print a summary and exit'
complete -c pki -l version -d 'Print the version and exit'
