# bash completion for pki                                  -*- shell-script -*-
#
# Calls nothing of the bash-completion package, and so works without it too.

# The words of the line up to the cursor's one, split at blanks only: COMP_WORDS splits names at
# their colons and at-signs too.
__pki_typed() {
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra typed <<<"${line%"${line##*[[:space:]]}"}"
}

# The directories that hold a certificate, where --out says.
__pki_names() {
    local i out=. path
    for ((i = 1; i < ${#typed[@]}; i++)); do
        case ${typed[i]} in
            -out | --out) out=${typed[i + 1]-.} ;;
            -out=* | --out=*) out=${typed[i]#*=} ;;
        esac
    done
    for path in "$out"/*/cert.pem; do
        path=${path%/cert.pem}
        [[ ! -e $path/cert.pem ]] || echo "${path##*/}"
    done
}

# How many words behind the command are no options and no values of one.
__pki_operands() {
    local i count=0
    for ((i = 2; i < ${#typed[@]}; i++)); do
        case ${typed[i]} in
            -*=* | -json | -quiet | -verbose | -require-client-cert | -all) ;;
            --json | --quiet | --verbose | --require-client-cert | --all) ;;
            -*) ((i++)) ;;
            *) ((count++)) ;;
        esac
    done
    echo "$count"
}

_pki() {
    local word=${COMP_WORDS[COMP_CWORD]} cur=$2 option=$3 prefix='' equals='' words=''

    # --option=value comes in three words, and word and cur may differ: cur is what readline
    # replaces. Where '=' was taken out of COMP_WORDBREAKS it comes in one.
    if [[ $word == = ]]; then
        equals=1 cur=''
    elif [[ $option == = ]]; then
        equals=1 option=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $cur == -*=* ]]; then
        equals=1 option=${cur%%=*} prefix=${cur%%=*}= cur=${cur#*=}
    elif [[ $word == *[\<\>] || $option == *[\<\>] ]]; then
        compopt -o default
        return
    fi

    # USER:GROUP comes in one to five words, and the group is what readline replaces.
    local typed full=${COMP_LINE:0:COMP_POINT}
    __pki_typed
    full=${full##*[[:space:]]}
    if [[ $full == *:* ]]; then
        option=${typed[${#typed[@]} - 1]}
        [[ $full != -*=* ]] || option=${full%%=*}
        [[ $option == -owner || $option == --owner ]] || return # an IPv6 address
        prefix=''
        [[ $COMP_WORDBREAKS == *:* ]] || prefix=${2%:*}:
        mapfile -t COMPREPLY < <(compgen -P "$prefix" -g -- "${full##*:}")
        return
    fi
    [[ $option != -[!-]* ]] || option=-$option # one dash is as good as two

    # Paths are left to readline, which knows about quotes and tildes.
    case $option in
        --domains | --ip-addresses | --user | --jobs | --days | --dbname | --port | --password-fd | \
            --warn-days | --timeout | --expiring | --before | --exec)
            return
            ;;
        --hosts | --users | --ca-cert | --ca-key | --server-ca | --password-file | --cert | --key)
            compopt -o default
            return
            ;;
        --name | --confirm)
            mapfile -t COMPREPLY < <(compgen -P "$prefix" -A hostname -- "$cur")
            return
            ;;
        --owner | --as)
            mapfile -t COMPREPLY < <(compgen -P "$prefix" -u -- "$cur")
            return
            ;;
        --out | --to)
            compopt -o dirnames
            return
            ;;
        --ca-alg)
            words='ecdsa rsa p256 p384 rsa2048 rsa3072 rsa4096'
            ;;
        --key-type)
            words='p256 p384 rsa2048 rsa3072 rsa4096 ed25519'
            ;;
        --profile)
            words='server client peer'
            ;;
        --kind)
            words='server client peer'
            ;;
        --sort)
            words='name expiry'
            ;;
        --reason)
            words='unspecified keyCompromise CACompromise affiliationChanged superseded cessationOfOperation'
            ;;
        --format)
            words='pk8 p12 der fullchain libpq'
            ;;
        *)
            # No value: the command, which is the first word or left out, an operand or an option.
            [[ -z $equals ]] || return
            local commands='issue list renew revoke rotate crl check config export' command=issue
            local steps='begin status finish'
            local kinds='pgbouncer postgres psql libpq-env jdbc rails node go'
            if ((COMP_CWORD == 1)); then
                words=$commands
            elif [[ ${COMP_WORDS[1]} != -* ]]; then
                command=${COMP_WORDS[1]}
            fi
            words+=' --help --version'
            case $command in
                issue)
                    words+=' --domains --ip-addresses --user --hosts --users --jobs --profile --owner'
                    words+=' --ca-cert --ca-key --ca-alg --key-type --days --out --json --quiet'
                    words+=' --verbose'
                    ;;
                list)
                    words+=' --expiring --kind --sort --all --prometheus --ca-cert --out'
                    words+=' --json --quiet --verbose'
                    ;;
                renew)
                    words+=' --all --before --reuse-key --exec --confirm --timeout --password-file'
                    words+=' --password-fd --ca-cert --ca-key --out --json --quiet --verbose'
                    words+=" $(__pki_names)"
                    ;;
                check)
                    words+=' --ca-cert --name --cert --key --as --out --direct'
                    words+=' --no-plaintext-probe --warn-days --timeout --json --quiet --verbose'
                    compopt -o default
                    ;;
                config)
                    words+=' --server-ca --require-client-cert --user --dbname --port --ca-cert'
                    words+=' --out --json --quiet --verbose'
                    case $(__pki_operands) in
                        0) words+=" $kinds" ;;
                        1) words+=" $(__pki_names)" ;;
                    esac
                    ;;
                export)
                    words+=' --format --password-file --password-fd --to --owner --ca-cert --out'
                    words+=' --json --quiet --verbose'
                    [[ $(__pki_operands) != 0 ]] || words+=" $(__pki_names)"
                    ;;
                rotate)
                    words+=' --ca-alg --no-cross --ca-cert --ca-key --out --json --quiet --verbose'
                    [[ $(__pki_operands) != 0 ]] || words+=" $steps"
                    ;;
                revoke)
                    words+=' --reason --all --ca-cert --ca-key --out --json --quiet --verbose'
                    [[ $(__pki_operands) != 0 ]] || words+=" $(__pki_names)"
                    ;;
                crl)
                    words+=' --days --ca-cert --ca-key --json --quiet --verbose'
                    ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "$cur")
}

complete -F _pki pki
